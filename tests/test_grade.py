"""Grading on tables small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_aug.grade import FLOOR, auc_in_lists, calibrate, choose, held_out_odds, weights


def table(rows: str, columns: str = "user_id item_id probability") -> pd.DataFrame:
    """One row per line; numbers are numbers."""
    frame = pd.DataFrame([line.split() for line in rows.strip().splitlines()], columns=columns.split())
    for name in set(frame.columns) - {"user_id", "item_id"}:
        frame[name] = frame[name].astype(float)
    return frame


def pseudo(items: int = 10, users: int = 30, seed: int = 0) -> pd.DataFrame:
    """judge says the truth with noise, preference is noise."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame([(f"u{user}", f"i{item}") for item in range(items) for user in range(users)])
    frame.columns = ["user_id", "item_id"]
    label = random.random(len(frame)) < 0.3
    noise = random.standard_normal((2, len(frame)))
    return frame.assign(label=label, judge=2.0 * label + noise[0], preference=noise[1])


def test_calibrate_rises_with_an_informative_feature_only() -> None:
    cold = pd.DataFrame({"judge": np.linspace(-3, 3, 7), "preference": 0.0})
    rising = calibrate(pseudo(), cold, ["preference", "judge"])
    assert (np.diff(rising) > 0).all()
    assert rising[-1] - rising[0] > 0.5
    assert ((rising > 0) & (rising < 1)).all()
    flat = calibrate(pseudo(), cold.assign(judge=0.0, preference=cold["judge"]), ["preference", "judge"])
    assert np.ptp(flat) < 0.2


def test_a_judge_that_is_always_wrong_has_no_say() -> None:
    wrong = pseudo().assign(judge=lambda rows: -rows["judge"])
    falling = calibrate(wrong, pd.DataFrame({"judge": [-1.0, 1.0]}), ["judge"])
    assert falling[0] == pytest.approx(falling[1])


def test_probabilities_are_calibrated() -> None:
    frame = pseudo(items=100)
    assert calibrate(frame, frame, ["preference", "judge"]).mean() == pytest.approx(frame["label"].mean(), abs=0.01)


@pytest.mark.parametrize("label", [True, False, None])
def test_labels_of_one_kind_leave_the_first_feature(label: bool | None) -> None:
    one_kind = pseudo().assign(label=label) if label is not None else pseudo().iloc[:0]
    cold = pd.DataFrame({"preference": [-900.0, -1.0, 0.0], "judge": [9.0, 0.0, -9.0]})
    found = calibrate(one_kind, cold, ["preference", "judge"])
    np.testing.assert_allclose(found, [0.0, 1 / (1 + np.e), 0.5])


def test_nothing_to_calibrate() -> None:
    assert calibrate(pseudo(), pseudo().iloc[:0], ["judge"]).shape == (0,)


def test_an_items_odds_come_from_other_items() -> None:
    frame = pseudo()
    before = held_out_odds(frame, ["judge"])
    mine = (frame["item_id"] == "i3").to_numpy()
    turned = frame.assign(label=np.where(mine, ~frame["label"], frame["label"]))
    after = held_out_odds(turned, ["judge"])
    np.testing.assert_array_equal(before[mine], after[mine])
    assert (before[~mine] != after[~mine]).sum() > 200


def test_a_score_held_out_orders_a_users_list_as_it_does_itself() -> None:
    """Items differ in how many users like them, which each fold's intercept knows of the others alone."""
    frame = pseudo(items=20)
    liked = frame["item_id"].str[1:].astype(int) / 20
    frame = frame.assign(label=np.random.default_rng(1).random(len(frame)) < liked)
    frame["judge"] = frame["label"] + np.random.default_rng(2).standard_normal(len(frame))
    folded = frame.assign(held_out=held_out_odds(frame, ["judge"]))
    assert auc_in_lists(folded, "held_out") == pytest.approx(auc_in_lists(frame, "judge"), abs=0.005)


def test_one_item_alone_cannot_be_held_out() -> None:
    assert np.isnan(held_out_odds(pseudo(items=1), ["judge"])).all()


def test_auc_by_hand() -> None:
    """a: the true pair above 1 of 2 -> 1/2. b: above both -> 1. c: one label only, left out. d: a tie -> 1/2."""
    rows = """a i1 .2 1
              a i2 .1 0
              a i3 .3 0
              b i1 .9 1
              b i2 .1 0
              b i3 .2 0
              c i1 .5 0
              d i1 .5 1
              d i2 .5 0"""
    frame = table(rows, "user_id item_id score label").assign(label=lambda rows: rows["label"].astype(bool))
    assert auc_in_lists(frame, "score") == pytest.approx((0.5 + 1.0 + 0.5) / 3)
    assert np.isnan(auc_in_lists(frame[frame["user_id"] == "c"], "score"))
    assert np.isnan(auc_in_lists(frame.iloc[:0], "score"))


def test_auc_inside_lists_does_not_reward_knowing_the_active_user() -> None:
    frame = pseudo().assign(label=lambda rows: rows["user_id"].isin(["u1", "u2"]) | (rows["item_id"] == "i1"))
    frame["score"] = frame["user_id"].isin(["u1", "u2"]).astype(float)
    assert auc_in_lists(frame, "score") == 0.5


def test_choose_takes_items_first_then_users() -> None:
    """a takes u1, b takes u2; of the rest each user has one more: u1 b, u2 c (c has no pair yet: c takes u3)."""
    rows = """u1 a .9
              u1 b .5
              u2 b .6
              u2 c .3
              u2 a .2
              u3 c .4"""
    chosen = table(rows)[choose(table(rows), per_item=1, per_user=1)]
    assert [tuple(row) for row in chosen[["user_id", "item_id"]].to_numpy()] == [
        ("u1", "a"),
        ("u1", "b"),
        ("u2", "b"),
        ("u2", "c"),
        ("u2", "a"),  # u3 has nothing left, so that the sixth pair is u2's next
        ("u3", "c"),
    ]


def test_a_user_gets_a_second_turn_after_all_had_their_first() -> None:
    """Volume: one for each item (3) and one for each user (2); the items take 1, u1 and u2 have one turn each."""
    rows = """u1 a .9
              u1 b .8
              u1 c .7
              u1 d .6
              u2 a .1
              u2 b .2
              u2 c .3
              u2 d .4"""
    chosen = table(rows)[choose(table(rows), per_item=1, per_user=1)]
    assert len(chosen) == 4 + 2
    assert list(chosen["user_id"]) == ["u1"] * 4 + ["u2"] * 2
    assert list(chosen[chosen["user_id"] == "u2"]["item_id"]) == ["c", "d"]


def test_everyone_has_a_turn_before_a_sure_user_has_two() -> None:
    """The items take u3; of the rest u1 is surer than u2 of everything, and yet u2 gets the second of two."""
    rows = """u3 a .95
              u3 b .95
              u1 a .9
              u1 b .8
              u2 a .1
              u2 b .2
              u3 c .5
              u1 c .7"""
    chosen = table(rows)[choose(table(rows), per_item=1, per_user=1)]
    assert [tuple(row) for row in chosen[["user_id", "item_id"]].to_numpy()] == [
        ("u3", "a"),
        ("u3", "b"),
        ("u1", "a"),
        ("u2", "b"),
        ("u3", "c"),  # u3's turn: c went to u1
        ("u1", "c"),
    ]


def test_what_has_no_probability_is_never_chosen() -> None:
    rows = """u1 a nan
              u2 a .1
              u3 a .2
              u1 b .3"""
    assert list(choose(table(rows), per_item=1, per_user=1)) == [False, True, True, True]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 6))
def test_volume_does_not_depend_on_the_scores(seed: int, per_item: int, per_user: int) -> None:
    random = np.random.default_rng(seed)
    drawn = np.flatnonzero(random.random(12 * 9) < random.random())
    pairs = pd.DataFrame({"user_id": [f"u{n % 12}" for n in drawn], "item_id": [f"i{n // 12}" for n in drawn]})
    first, second = (pairs.assign(probability=random.random(len(pairs))) for _ in range(2))
    mine, other = (choose(frame, per_item, per_user) for frame in (first, second))
    assert mine.sum() == other.sum()
    lengths = pairs["item_id"].value_counts()
    assert (pairs[mine]["item_id"].value_counts().reindex(lengths.index) >= np.minimum(lengths, per_item)).all()
    most = np.minimum(lengths, per_item).sum() + np.minimum(pairs["user_id"].value_counts(), per_user).sum()
    assert mine.sum() == min(len(pairs), most)


def test_weights_rise_with_the_probability_within_their_bounds() -> None:
    probability = np.linspace(0, 1, 101)
    found = weights(probability)
    assert (np.diff(found) >= 0).all()
    assert (found[0], found[-1]) == (FLOOR, 1.0)
    assert found[24] == pytest.approx(np.sqrt(0.24 / 0.95))


@pytest.mark.parametrize("probability", [[], [0.0, 0.0], [1e-300], [0.3]])
def test_weights_of_odd_lists(probability: list[float]) -> None:
    found = weights(np.array(probability))
    assert found.shape == (len(probability),)
    assert ((found >= FLOOR) & (found <= 1)).all()


def test_weights_do_not_depend_on_the_base_rate() -> None:
    probability = np.random.default_rng(0).random(50)
    np.testing.assert_allclose(weights(probability), weights(probability / 100))
