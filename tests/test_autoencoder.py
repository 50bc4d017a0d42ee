"""What the autoencoders do with items and users that they know nothing of, and the line of the divergence's weight."""

from __future__ import annotations

import numpy as np
import pytest

from llm_aug.data import Split
from recommender.autoencoder import AutoRec, MultVAE

SMALL = {"hidden": 8, "epochs": 2}


@pytest.mark.parametrize("student", [AutoRec(**SMALL), MultVAE(**SMALL, latent=4)])
def test_a_user_without_history_gets_what_an_empty_row_gives(student: AutoRec | MultVAE, tastes: Split) -> None:
    model = student.fit(tastes.training)
    nobody, known = model.scores(["nobody"]), model.scores(["u0"])
    assert np.ptp(nobody[:, model.warm]) > 0  # the bias is a popularity
    assert not np.allclose(nobody, known)


def test_no_item_with_history_scores_below_those_without(tastes: Split) -> None:
    model = MultVAE(**SMALL, latent=4).fit(tastes.training)
    scores = model.scores(["u0", "u1", "nobody"])
    cold = np.setdiff1d(np.arange(scores.shape[1]), model.warm)
    assert (scores[:, cold] == 0).all()
    assert (scores[:, model.warm].min(axis=1) == 0).all()
    assert (scores[:, model.warm].max(axis=1) > 0).all()


def test_autorec_reconstructs_the_rows_it_was_fitted_on(tastes: Split) -> None:
    model = AutoRec(hidden=64, epochs=60, batch_size=16, learning_rate=0.02, input_dropout=0, weight_decay=0).fit(
        tastes.training
    )
    users = sorted(set(tastes.train["user_id"]))
    scores = model.scores(users)
    own = np.zeros(scores.shape, dtype=bool)
    columns = {item: at for at, item in enumerate(tastes.items["item_id"])}
    for user, item in zip(tastes.train["user_id"], tastes.train["item_id"], strict=True):
        own[users.index(user), columns[item]] = True
    assert scores[own].mean() > 0.7
    assert scores[:, model.warm][~own[:, model.warm]].mean() < 0.3


def test_a_large_beta_leaves_no_personal_score(tastes: Split) -> None:
    """The posterior falls back to the prior, so that all users get the same list."""
    free, bound = (
        MultVAE(hidden=16, latent=4, epochs=30, batch_size=16, beta=beta).fit(tastes.training) for beta in (0, 100)
    )
    spread = [np.std(model.scores(["u0", "u1", "u2", "u3"]), axis=0).mean() for model in (free, bound)]
    assert spread[1] < spread[0] / 5
