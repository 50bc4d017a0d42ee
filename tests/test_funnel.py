"""The funnel's algebra against the plain computation: dense scores, z-scores by row, log softmax by row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

from llm_aug.funnel import USERS_AT_ONCE, Funnel, Space, build, mixed, standardised


def space(users: int = 17, items: int = 23, dimensions: int = 5, seed: int = 0, shift: float = 0.0) -> Space:
    """shift: a direction that all vectors share, as sentence vectors do."""
    random = np.random.default_rng(seed)
    rows = (random.standard_normal((n, dimensions)) + shift for n in (users, items))
    return Space(f"space{seed}", *(row.astype(np.float32) for row in rows))


def z(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)


def dense(one: Space) -> np.ndarray:
    return one.users.astype(np.float64) @ one.items.astype(np.float64).T


def names(letter: str, n: int) -> list[str]:
    return [f"{letter}{number:03}" for number in range(n)]


def funnel_of(one: Space) -> Funnel:
    return build(names("u", len(one.users)), names("i", len(one.items)), one, np.ones(len(one.items), bool))


@pytest.mark.parametrize("shift", [0.0, 10.0])
@pytest.mark.parametrize("dimensions", [1, 5])
def test_standardised_is_the_z_score_of_each_users_row(dimensions: int, shift: float) -> None:
    one = space(dimensions=dimensions, shift=shift)
    np.testing.assert_allclose(dense(standardised(one)), z(dense(one)), atol=1e-4)


def test_mixed_is_the_weighted_sum_of_z_scores() -> None:
    one, other = space(seed=1), space(seed=2, dimensions=3, shift=2.0)
    expected = 0.7 * z(dense(one)) + 0.3 * z(dense(other))
    np.testing.assert_allclose(dense(mixed([one, other], [0.7, 0.3])), expected, atol=1e-4)


def test_mixed_wants_a_weight_for_each_space() -> None:
    with pytest.raises(ValueError, match="shorter"):
        mixed([space(seed=1), space(seed=2)], [1.0])


@pytest.mark.parametrize("users", [17, USERS_AT_ONCE + 3])
def test_preferences_are_the_log_softmax_over_known_items(users: int) -> None:
    one = space(users=users)
    known = np.arange(23) % 3 > 0
    funnel = build(names("u", users), names("i", 23), one, known, sharpness=2.0)
    scores = 2.0 * dense(one)
    expected = scores - np.log(np.exp(scores[:, known]).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(funnel.users @ funnel.items.T, expected, atol=1e-4)
    np.testing.assert_allclose(expected[:, known], log_softmax(scores[:, known], axis=1), atol=1e-9)


def test_candidates_are_the_best_of_both_directions_each_pair_once() -> None:
    funnel = funnel_of(space())
    targets = np.array([20, 3, 11, 8])
    found = funnel.candidates(targets, per_user=2, per_item=4)
    scores = funnel.users @ funnel.items.T
    expected = {
        (user, item) for user in range(17) for item in sorted(targets, key=lambda item: -scores[user, item])[:2]
    } | {(user, item) for item in targets for user in np.argsort(-scores[:, item])[:4]}
    pairs = [(int(user[1:]), int(item[1:])) for user, item in zip(found["user_id"], found["item_id"], strict=True)]
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == expected
    np.testing.assert_allclose(found["preference"], [scores[pair] for pair in pairs], atol=1e-4)


def test_rows_come_by_user_then_by_preference() -> None:
    found = funnel_of(space()).candidates(np.arange(10), per_user=3, per_item=3)
    ordered = found.sort_values(["user_id", "preference"], ascending=[True, False], ignore_index=True)
    pd.testing.assert_frame_equal(found, ordered)


def test_a_user_without_direction_is_never_a_candidate() -> None:
    one = space()
    one.users[4] = 0
    found = funnel_of(mixed([one], [1.0])).candidates(np.arange(23), per_user=23, per_item=17)
    assert len(found) == 16 * 23
    assert "u004" not in set(found["user_id"])


def test_a_user_to_whom_all_items_are_equal_is_never_a_candidate() -> None:
    one = Space("flat", np.array([[1, 0], [1, 1]], np.float32), np.array([[1, 0], [1, 1], [1, 2]], np.float32))
    found = funnel_of(mixed([one], [1.0])).candidates(np.arange(3), per_user=3, per_item=2)
    assert list(found["user_id"]) == ["u001"] * 3


@pytest.mark.parametrize(("users", "items"), [(1, 5), (5, 1), (1, 1)])
def test_one_user_or_one_item(users: int, items: int) -> None:
    found = funnel_of(space(users=users, items=items)).candidates(np.arange(items), per_user=9, per_item=9)
    assert len(found) == users * items


def test_nothing_to_find() -> None:
    one = space()
    one.users[:] = 0
    nobody = funnel_of(one).candidates(np.array([1]), per_user=2, per_item=2)
    nothing = funnel_of(space()).candidates(np.array([], dtype=np.int64), per_user=2, per_item=2)
    assert (len(nobody), len(nothing)) == (0, 0)
    assert list(nobody.columns) == ["user_id", "item_id", "preference"]


def test_vectors_that_are_no_numbers_are_refused() -> None:
    one = space()
    one.items[3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        funnel_of(one).candidates(np.arange(23), per_user=2, per_item=2)
