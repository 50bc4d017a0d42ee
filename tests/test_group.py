"""Lists for groups of two and three, checked by eye."""

from __future__ import annotations

import numpy as np
import pytest

from llm_aug.errors import InputError
from recommender.features import z_scores
from recommender.group import aggregate, group_similarity, item_similarity

# Ann likes a, Bob b a hundred times as loudly, both can live with c; nobody wants d.
SCORES = np.array([[3, 0, 2.5, 0], [0, 300, 250, 0]], np.float32)


def best(how: str, similarity: np.ndarray | None = None) -> str:
    return "abcd"[int(aggregate(SCORES, how, similarity).argmax())]


def test_the_mean_and_least_misery_take_what_all_can_live_with() -> None:
    assert (best("mean"), best("least-misery")) == ("c", "c")
    assert best("most-pleasure") in "ab"


def test_a_loud_member_has_no_more_say() -> None:
    scores = aggregate(SCORES, "mean")
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_each_way_is_its_formula() -> None:
    z = z_scores(SCORES)
    similarity = np.array([[0.9, 0.1, 0.5, 0.2], [0.1, 0.9, 0.5, 0.4]], np.float32)
    weights = np.exp(similarity / 0.1) / np.exp(similarity / 0.1).sum(axis=0)
    for how, expected in {
        "mean": z.mean(axis=0),
        "least-misery": np.minimum(*z),
        "most-pleasure": np.maximum(*z),
        "attention": (weights * z).sum(axis=0),
    }.items():
        np.testing.assert_allclose(aggregate(SCORES, how, similarity), expected, atol=1e-6)


def test_attention_hears_the_member_who_is_similar_and_all_alike_where_they_are_equal() -> None:
    assert best("attention", np.array([1, 0], np.float32)) == "a"
    assert best("attention", np.array([0, 1], np.float32)) == "b"
    np.testing.assert_allclose(
        aggregate(SCORES, "attention", np.array([0.3, 0.3], np.float32)), aggregate(SCORES, "mean"), atol=1e-6
    )


def test_the_order_of_members_does_not_matter() -> None:
    similarity = np.array([0.7, 0.2], np.float32)
    for how in ("mean", "least-misery", "most-pleasure", "attention"):
        backwards = aggregate(SCORES[::-1], how, similarity[::-1])
        np.testing.assert_allclose(aggregate(SCORES, how, similarity), backwards, atol=1e-6)


def test_a_group_of_one_has_the_list_of_its_member() -> None:
    for how in ("mean", "least-misery", "most-pleasure", "attention"):
        np.testing.assert_allclose(aggregate(SCORES[:1], how, np.ones(1, np.float32)), z_scores(SCORES[:1])[0])


def test_similarities_are_cosines() -> None:
    profiles = np.array([[2, 0], [3, 3], [0, 0]], np.float32)
    items = np.array([[1, 0], [0, 5]], np.float32)
    half = 0.5**0.5
    np.testing.assert_allclose(item_similarity(profiles, items), [[1, 0], [half, half], [0, 0]], atol=1e-6)
    typical = group_similarity(profiles)
    mean = np.array([1 + half, half]) / np.hypot(1 + half, half)
    np.testing.assert_allclose(typical, [mean[0], (mean * half).sum(), 0], atol=1e-6)


def test_what_is_no_group_is_refused() -> None:
    with pytest.raises(InputError, match="no aggregation 'meen'; did you mean 'mean'"):
        aggregate(SCORES, "meen")
    with pytest.raises(InputError, match="at least one member"):
        aggregate(SCORES[:0], "mean")
    for similarity in (None, np.ones(3, np.float32)):
        with pytest.raises(InputError, match="attention needs each member's similarity"):
            aggregate(SCORES, "attention", similarity)
