"""Biased matrix factorisation: what its targets are, and that it is at the minimum of its objective."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from llm_aug.data import Dataset, tidy_interactions, tidy_items
from recommender.factors import MatrixFactorization, target_matrix
from recommender.matrix import to_log

ITEMS = tidy_items(pd.DataFrame({"item_id": ["a", "b", "c", "d"]}))


def dataset(*rows: tuple[str, str, float | None, float]) -> Dataset:
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "rating", "weight"])
    return Dataset(ITEMS, tidy_interactions(frame))


RATED = dataset(("u", "b", 5, 1), ("u", "a", 1, 1), ("v", "a", 4, 1), ("v", "c", None, 0.5), ("v", "a", 2, 0.5))


def test_targets_are_ratings_over_the_highest_and_a_pair_without_one_is_the_mean() -> None:
    found = target_matrix(RATED, to_log(RATED)).toarray()
    np.testing.assert_allclose(found, [[0.2, 1, 0, 0], [0.8, 0, (1 + 5 + 4) / 3 / 5, 0]])


def test_targets_of_a_log_without_ratings_are_one() -> None:
    plain = dataset(("u", "a", None, 1), ("v", "b", None, 0.5))
    assert target_matrix(plain, to_log(plain)).toarray().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]


def test_no_step_from_the_item_side_lowers_the_objective() -> None:
    """The last half step solves for the items, so that the gradient by their factors and biases is zero."""
    model = MatrixFactorization(factors=2, regularization=0.3, zero_weight=0.2, iterations=3).fit(RATED)
    targets = target_matrix(RATED, to_log(RATED)).toarray()[:, :3]
    weights = 0.2 + 0.8 * to_log(RATED).matrix.toarray()[:, :3].astype(float)
    users, items = model.user_factors.astype(float), model.item_factors[:3].astype(float)
    errors = model.mean + users[:, -1:] + items[:, -1] + users[:, :-1] @ items[:, :-1].T - targets
    design = np.hstack([users[:, :-1], np.ones((2, 1))])
    np.testing.assert_allclose((weights * errors).T @ design + 0.3 * items, 0, atol=1e-6)


def test_scores_are_the_mean_and_biases_and_factors_and_zero_without_history() -> None:
    model = MatrixFactorization(factors=2).fit(RATED)
    known, unknown = model.scores(["u", "nobody"])
    users, items = model.user_factors, model.item_factors
    expected = model.mean + users[0, -1] + items[:, -1] + items[:, :-1] @ users[0, :-1]
    np.testing.assert_allclose(known[:3], expected[:3], rtol=1e-5)
    np.testing.assert_allclose(unknown[:3], (model.mean + items[:, -1])[:3], rtol=1e-5)
    assert known[3] == unknown[3] == 0


def test_a_better_rated_item_ranks_higher() -> None:
    rows = [(f"u{n}", item, rating, 1.0) for n in range(20) for item, rating in (("a", 5.0), ("b", 1.0))]
    found = MatrixFactorization(factors=2, regularization=1.0).fit(dataset(*rows)).scores(["u3"])[0]
    assert found[0] > 2 * found[1]
    assert found[1] == pytest.approx(0.2, abs=0.1)
