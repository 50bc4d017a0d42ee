"""Figures of a corpus that can be worked out by hand, and the whole report of a small one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from llm_aug.data import Dataset, Pair, Sample, tidy_interactions, tidy_items
from llm_aug.filters.corpus import MOST, corpus, distinct, drift, gini, self_similarity, tell_apart
from llm_aug.filters.reference import Reference
from llm_aug.vectors import load_encoder, unit

ITEMS = [f"i{number:02}" for number in range(40)]


def reference() -> Reference:
    """i00 is in every history, each other item in one or in none; users have 2 items each."""
    told = [f"Item {number} of a long and winding tale about number {number}" for number in range(40)]
    items = pd.DataFrame({"item_id": ITEMS, "title": ITEMS, "description": told})
    rows = [(f"u{user}", item) for user in range(10) for item in ("i00", f"i{user + 1:02}")]
    log = pd.DataFrame(rows, columns=["user_id", "item_id"]).assign(review="a fine thing to have at home")
    return Reference(Dataset(tidy_items(items), tidy_interactions(log)), load_encoder("hash:64"))


def texts(kind: str, count: int, words: str) -> list[Sample]:
    return [Sample(f"{kind}/{n:03}", kind, ITEMS[n % 40], f"{words} {n}") for n in range(count)]  # type: ignore[arg-type]


def test_distinct_is_the_share_of_ngrams_that_are_new() -> None:
    assert distinct(["a b a b", "A, b!"], 1) == pytest.approx(2 / 6)
    assert distinct(["a b a b", "A, b!"], 2) == pytest.approx(2 / 4)  # ab ba ab, ab
    assert distinct(["a b"], 3) == 0


def test_self_similarity_is_the_mean_cosine_to_the_nearest_other_text() -> None:
    rows = unit(np.array([[1, 0], [1, 0], [3, 4]]))
    assert self_similarity(rows) == pytest.approx((1 + 1 + 0.6) / 3)
    assert self_similarity(rows[:1]) == 0


def test_drift_is_the_largest_distance_of_the_distribution_functions() -> None:
    assert drift([1, 2, 3], [3, 1, 2]) == 0
    assert drift([1, 1], [2, 2]) == 1
    assert drift([1, 2, 3, 4], [3, 4, 5, 6]) == pytest.approx(0.5)
    assert drift([], [1]) is None


@pytest.mark.parametrize(("counts", "expected"), [([3, 3, 3], 0), ([0, 0, 6], 2 / 3), ([0, 0], 0), ([1, 3], 0.25)])
def test_gini(counts: list[int], expected: float) -> None:
    assert gini(np.array(counts)) == pytest.approx(expected)


def test_the_classifier_tells_two_clouds_apart_and_one_not() -> None:
    random = np.random.default_rng(0)
    rows = unit(random.normal(size=(400, 8)))
    subjects = [str(row % 200) for row in range(400)]
    same = tell_apart(rows[:200], rows[200:], subjects)
    assert same == pytest.approx(0.5, abs=0.08)
    apart = unit(rows[:200] + 3 * np.eye(8)[0])
    assert tell_apart(apart, rows[200:], subjects) > 0.95  # type: ignore[operator]
    assert tell_apart(rows[:3], rows[200:], subjects[:203]) is None


def test_a_text_is_not_recognised_by_its_item() -> None:
    """Each item has a direction of its own, and both sides have the same texts: nothing tells them apart."""
    rows = unit(np.random.default_rng(1).normal(size=(100, 16)))
    assert tell_apart(rows, rows, [*map(str, range(100))] * 2) <= 0.5  # type: ignore[operator]


def test_texts_are_compared_with_real_descriptions() -> None:
    found = corpus(texts("description", 30, "word"), reference())["description"]
    assert found["samples"] == found["compared"] == 30
    assert found["coverage"] == 30 / 40
    assert found["length_drift"] == 1
    assert (found["synthetic"]["length"], found["real"]["length"]) == (2, 11)
    assert found["synthetic"]["distinct_1"] == pytest.approx(31 / 60, abs=1e-4)
    assert found["auc"] == 1


def test_reviews_go_with_the_reviews_of_the_log_and_profiles_with_nothing() -> None:
    found = corpus(texts("review", 10, "nice") + texts("profile", 10, "one who likes"), reference())
    assert found["review"]["real"]["length"] == 7
    assert found["review"]["auc"] is None  # too few
    assert "real" not in found["profile"]
    assert "auc" not in found["profile"]
    assert found["profile"]["length_drift"] is None


def test_histories_are_compared_with_the_log() -> None:
    stories = [
        Sample(f"h{n}", "history", f"new/{n}", interactions=tuple(Pair(f"new/{n}", item) for item in ITEMS[1:4]))
        for n in range(5)
    ]
    found = corpus(stories, reference())["history"]
    assert found["coverage"] == 3 / 40
    assert found["length_drift"] == 1
    assert (found["synthetic"]["length"], found["real"]["length"]) == (3, 2)
    assert found["popularity_drift"] == 0.5  # half of the real rows are of the popular item, none of these
    assert found["synthetic"]["gini"] == pytest.approx(1 - 3 / 40, abs=1e-4)


def test_the_order_of_the_samples_does_not_matter() -> None:
    samples = texts("description", 40, "word") + texts("profile", 5, "one")
    assert corpus(samples[::-1], reference()) == corpus(samples, reference())
    assert corpus([], reference()) == {}
    assert MOST <= 5000
