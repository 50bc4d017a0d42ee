from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import log2

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from eval.catalogue import (
    BINS,
    by_popularity,
    catalogue_metrics,
    coverage,
    diversity,
    exposure,
    gini,
    novelty,
    per_item,
    training_counts,
)
from eval.ranking import Group, Held, Lists, Pairs
from llm_aug.data import Split

LISTS = np.array([[0, 1, 2], [0, 2, -1], [0, -1, -1]], dtype=np.int32)  # of five items


def test_exposure_counts_the_places_of_the_first_k() -> None:
    assert exposure(LISTS, 1, 5).tolist() == [3, 0, 0, 0, 0]
    assert exposure(LISTS, 3, 5).tolist() == [3, 1, 2, 0, 0]


def test_coverage_is_the_share_of_items_in_any_list() -> None:
    assert coverage(exposure(LISTS, 1, 5)) == 1 / 5
    assert coverage(exposure(LISTS, 3, 5)) == 3 / 5


def test_gini_by_hand() -> None:
    assert gini(np.array([2, 2, 2, 2])) == 0
    assert gini(np.array([0, 7, 0, 0])) == pytest.approx(3 / 4)
    assert gini(np.array([1, 3])) == pytest.approx(1 / 4)
    assert np.isnan(gini(np.zeros(3, dtype=np.int64)))


def test_novelty_by_hand() -> None:
    trained = np.array([7, 0, 3, 0, 1])  # shares 8, 1, 4, 1, 2 of 16
    assert novelty(exposure(LISTS, 1, 5), trained) == pytest.approx(1)
    assert novelty(exposure(LISTS, 3, 5), trained) == pytest.approx((3 * 1 + 4 + 2 * 2) / 6)
    assert np.isnan(novelty(np.zeros(5, dtype=np.int64), trained))


def test_diversity_by_hand() -> None:
    vectors = np.array([[1, 0], [0, 3], [2, 0], [0, 0], [-1, 0]], dtype=np.float32)
    lists = np.array([[0, 2, -1], [0, 1, 2], [0, -1, -1]], dtype=np.int32)  # cosines 1; 0, 1, 0; no pair
    assert diversity(lists, 3, vectors) == pytest.approx((0 + 2 / 3) / 2)
    assert diversity(np.array([[0, 4]], dtype=np.int32), 2, vectors) == pytest.approx(2)
    assert diversity(np.array([[0, 3]], dtype=np.int32), 2, vectors) == pytest.approx(1)
    assert np.isnan(diversity(lists, 1, vectors))


@settings(deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_lists_against_plain_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    items, k = int(random.integers(2, 12)), int(random.integers(1, 6))
    lists = [list(random.permutation(items)[: random.integers(1, 9)]) for _ in range(random.integers(1, 8))]
    ranked = np.array([(row + [-1] * 9)[:9] for row in lists], dtype=np.int32)
    trained, vectors = random.integers(0, 50, items), random.normal(size=(items, 3)).astype(np.float32)
    shown = Counter(item for row in lists for item in row[:k])
    counts = [shown[item] for item in range(items)]
    found = exposure(ranked, k, items)
    assert found.tolist() == counts
    assert coverage(found) == pytest.approx(len(shown) / items)
    differences = sum(abs(a - b) for a in counts for b in counts)  # Gini is half the relative mean difference
    assert gini(found) == pytest.approx(differences / (2 * items * sum(counts)))
    bits = [-log2((trained[item] + 1) / (trained.sum() + items)) for row in lists for item in row[:k]]
    assert novelty(found, trained) == pytest.approx(sum(bits) / len(bits))
    unit = [row / np.linalg.norm(row) for row in vectors.astype(float)]
    pairs = [[1 - unit[a] @ unit[b] for a, b in combinations(row[:k], 2)] for row in lists]
    means = [sum(one) / len(one) for one in pairs if one]
    expected = pytest.approx(sum(means) / len(means), abs=1e-5) if means else pytest.approx(np.nan, nan_ok=True)
    assert diversity(ranked, k, vectors) == expected


def test_a_figure_of_a_group_is_of_the_items_that_compete_in_it() -> None:
    everyone = np.ones(3, dtype=bool)
    groups = {"cold": Group(everyone, np.array([False, True, True, False, False])), "warm": Group(everyone, everyone)}
    rows = catalogue_metrics(
        {"cold": Lists(np.arange(2), np.array([[1, -1], [1, -1]], dtype=np.int32))}, groups, np.zeros(5, int), (1, 2)
    )
    assert {(row["metric"], row["k"]): row["value"] for row in rows} == {
        ("coverage", 1): 0.5,
        ("gini", 1): 0.5,
        ("novelty", 1): pytest.approx(log2(5)),
        ("coverage", 2): 0.5,
        ("gini", 2): 0.5,
        ("novelty", 2): pytest.approx(log2(5)),
    }
    assert {(row["group"], row["users"]) for row in rows} == {("cold", 2)}


def test_a_figure_that_is_none_has_no_row() -> None:
    groups = {"cold": Group(np.ones(1, bool), np.ones(2, bool))}
    lists = {"cold": Lists(np.arange(1), np.array([[1]], dtype=np.int32))}
    rows = catalogue_metrics(lists, groups, np.zeros(2, int), (1,), np.eye(2, dtype=np.float32))
    assert [row["metric"] for row in rows] == ["coverage", "gini", "novelty"]  # one item has no pair


def test_training_counts_are_users_not_rows(tastes: Split) -> None:
    counts = training_counts(tastes)
    twice = Split(**{**vars(tastes), "train": pd.concat([tastes.train, tastes.train])})
    assert training_counts(twice).tolist() == counts.tolist()
    first = tastes.items["item_id"].iloc[0]
    assert counts[0] == tastes.train.loc[tastes.train["item_id"] == first, "user_id"].nunique()


def held(users: int) -> Held:
    """Four items, of which the last does not compete; everyone wants the first two, and the last."""
    relevant = np.tile([True, True, False, True], (users, 1))
    group = Group(np.ones(users, bool), np.array([True, True, True, False]))
    return Held(
        [str(n) for n in range(users)],
        Pairs(csr_matrix(relevant)),
        Pairs(csr_matrix(relevant.shape)),
        {"overall": group},
    )


def test_hits_of_each_item() -> None:
    lists = Lists(np.array([0, 2]), np.array([[0, 2, 1], [2, 0, -1]], dtype=np.int32))
    table = per_item(lists, held(3), "overall", 2)
    assert table.to_dict("list") == {"item": [0, 1, 2], "relevant": [2, 2, 0], "hits": [2, 0, 0], "shown": [2, 0, 2]}


def test_a_missing_place_is_no_hit_on_the_last_item_of_the_user_before() -> None:
    lists = Lists(np.array([0, 1]), np.array([[2, -1], [-1, -1]], dtype=np.int32))  # both want the last item
    assert per_item(lists, held(2), "overall", 2)["hits"].sum() == 0


def test_recall_of_pairs_by_training_pairs_of_the_item() -> None:
    items = pd.DataFrame({"item": [0, 1, 2, 3, 5], "relevant": [4, 2, 2, 1, 0], "hits": [1, 1, 0, 1, 0]})
    trained = np.array([0, 3, 1, 31, 10**6, 30])
    table = by_popularity(items, trained).set_index("bin")
    assert list(table.index) == list(BINS)
    assert table["items"].tolist() == [1, 2, 0, 1, 1]
    assert table["relevant"].tolist() == [4, 4, 0, 0, 1]
    assert table["hits"].tolist() == [1, 1, 0, 0, 1]
    np.testing.assert_array_equal(table["recall"], [1 / 4, 1 / 4, np.nan, np.nan, 1])
