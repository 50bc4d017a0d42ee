"""The generator's own pairs as a ranking."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from llm_aug.data import Dataset, tidy_interactions, tidy_items
from recommender.direct import Direct


def log(synthetic: list[tuple[str, str, float]]) -> Dataset:
    """a has two real rows, b one; c and d are cold."""
    real = [("ann", "a", 1.0), ("bob", "a", 1.0), ("bob", "b", 1.0)]
    rows = pd.DataFrame([*real, *synthetic], columns=["user_id", "item_id", "weight"])
    rows["is_synthetic"] = [False] * len(real) + [True] * len(synthetic)
    return Dataset(tidy_items(pd.DataFrame({"item_id": list("abcd")})), tidy_interactions(rows))


def test_a_pair_scores_its_weight_and_stands_before_whatever_is_no_pair() -> None:
    model = Direct().fit(log([("ann", "c", 0.01), ("ann", "c", 0.02), ("bob", "d", 0.9), ("cat", "d", 0.5)]))
    scores = model.scores(["ann", "bob", "cat", "nobody"])
    assert scores[:, 2:] == pytest.approx(np.array([[0.02, -1], [-1, 0.9], [-1, 0.5], [-1, -1]]))
    np.testing.assert_allclose(scores[:, :2], [[-1 / 3, -2 / 3]] * 4, atol=1e-6)  # by popularity, below every pair


def test_real_rows_alone_say_nothing_of_cold_items() -> None:
    assert (Direct().fit(log([])).scores(["ann", "bob"])[:, 2:] == -1).all()


def test_synthetic_pairs_make_no_item_popular_among_users_without_them() -> None:
    pairs = [(f"u{n}", item, 1.0) for n in range(9) for item in ("c", "b")]
    plain, merged = (Direct().fit(log(rows)).scores(["nobody"]) for rows in ([], pairs))
    assert np.array_equal(plain, merged)
