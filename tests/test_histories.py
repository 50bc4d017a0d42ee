"""Invented users against real ones: copies with gaps and among other things, and lives that nobody lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from llm_aug.data import Dataset, Origin, Pair, Sample, Verdict, tidy_interactions, tidy_items
from llm_aug.errors import InputError
from llm_aug.filters import copied
from llm_aug.filters.copied import copies
from llm_aug.filters.histories import Log
from llm_aug.filters.pairs import Pairs, PairsConfig
from llm_aug.filters.reference import Reference
from llm_aug.vectors import load_encoder

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def log(histories: dict[str, Sequence[str]]) -> pd.DataFrame:
    rows = [(user, item) for user, items in histories.items() for item in items]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id"])
    return tidy_interactions(frame.assign(timestamp=range(len(frame))))


@pytest.mark.parametrize(
    ("items", "found_out"),
    [
        ("acegi", True),  # every second of hers
        ("aeimq", True),  # spread over 17 of hers: 4 * 5 = 20 at most
        ("agmsy", False),  # over 25 of hers
        ("acgei", False),  # not in her order
        ("aceg", False),  # four are chance
        ("abcde1", True),  # five of six
        ("abc1def", True),
        ("acegi1", True),  # within 9 of hers: 2 * 6 at most
        ("aehlp1", False),  # within 16
        ("abcd1", False),
        ("edcba1", False),  # not in her order
        ("1bcdefghi2", True),  # eight in a row, whatever stands around them
        ("1bcdefgh2", False),
    ],
)
def test_a_part_of_a_life_is_a_copy_too(items: str, found_out: bool) -> None:
    found = copies({0: tuple(items)}, Log(log({"ann": LETTERS, "bob": "zy"})))
    assert found == ({0: Verdict(False, "copied_history", 1.0, "ann")} if found_out else {})


@pytest.mark.parametrize(
    ("items", "found_out"),
    [
        ("abcd1fghij", True),  # one of hers exchanged
        ("jihgfedcb1", True),  # in another order too
        ("abcdefgh12", True),
        ("abcdefg123", False),  # seven of ten, in runs of seven
    ],
)
def test_a_life_with_an_item_exchanged_is_a_copy(items: str, found_out: bool) -> None:
    real = Log(log({"ann": "abcdefghij", "zoe": "klmno"}))
    assert set(copies({0: tuple(items)}, real)) == ({0} if found_out else set())
    assert set(copies({0: tuple(items)}, real, {0: "zoe"})) == ({0} if found_out else set())
    assert copies({0: tuple(items)}, real, {0: "ann"}) == {}


def test_a_user_of_the_log_may_share_two_items_with_another() -> None:
    real = Log(log({"ann": "ab", "zoe": "klmno"}))
    assert copies({0: tuple("ab")}, real, {0: "zoe"}) == {}
    assert set(copies({0: tuple("ab")}, real)) == {0}


def test_a_user_of_the_log_does_not_go_on_as_another_one_did() -> None:
    assert verdicts(story("cfadg", "v"), story("jklmn", "v")) == ["copied_history", ""]


def test_suspects_lose_no_copy() -> None:
    """Every pair compared one by one, of random lives of 12 things that come back."""
    rng = np.random.default_rng(0)
    lives = {f"u{n:03}": "".join(rng.choice(list(LETTERS[:12]), int(rng.integers(2, 14)))) for n in range(150)}
    real = Log(log(lives))
    stories = {row: tuple(rng.choice(list(LETTERS[:12]), int(rng.integers(2, 14)))) for row in range(150)}
    expected = {}
    for row, items in stories.items():
        for user, own in sorted(real.histories.items()):
            shared = len(set(items) & set(own))
            if shared >= 2 and copied._copied(items, own, shared):
                expected[row] = user
                break
    assert 10 < len(expected) < 150
    assert {row: verdict.nearest for row, verdict in copies(stories, real).items()} == expected


def test_a_life_of_few_things_that_come_back() -> None:
    assert set(copies({0: tuple("ababab"), 1: tuple("aabb")}, Log(log({"ann": "ababa"})))) == {0, 1}
    assert copies({0: tuple("aaaaa")}, Log(log({"ann": "ababa"}))) == {}


def world(count: int = 40) -> Dataset:
    """Users like 5 or 6 of the popular items a to h, a comedy and a drama by turns; i to z are seldom liked."""
    frame = log({f"u{n:02}": [LETTERS[(n + k * 3) % 8] for k in range(5 + n % 2)] for n in range(count)} | {"v": "izy"})
    genres = ["Comedy" if place % 2 else "Drama" for place in range(26)]
    items = tidy_items(pd.DataFrame({"item_id": list(LETTERS), "title": list(LETTERS), "genre": genres}))
    return Dataset(items, frame)


def story(items: str, user: str = "zoe", parents: tuple[str, ...] = ()) -> Sample:
    pairs = tuple(Pair(user, item, 10**6 + when) for when, item in enumerate(items))
    return Sample(items, "history", user, interactions=pairs, origin=Origin("history", parents=parents))


def verdicts(*samples: Sample, training: Dataset | None = None, **options: Any) -> list[str]:
    step = Pairs(Reference(training or world(), load_encoder("letters:8")), PairsConfig(**options))
    return [verdict.reason for verdict in step.judge(samples)]


def test_lives_that_nobody_lives() -> None:
    assert verdicts(story("abdc"), story("abcdefgh"), story("rstu"), story("bdfh")) == [
        "", "odd_length", "odd_popularity", "odd_mix",
    ]  # fmt: skip
    assert verdicts(story("ab"), min_length=3) == ["odd_length"]
    assert verdicts(story("abcdefgh"), max_length=8) == [""]
    assert verdicts(story("bdfh"), mix=1) == [""]
    assert verdicts(story("rstu"), min_popularity=0) == [""]
    assert verdicts(story("abdc"), max_popularity=0.5) == ["odd_popularity"]


def test_an_extension_is_a_part_and_a_small_log_measures_nothing() -> None:
    assert verdicts(story("ijklmnopq", "u00", parents=("u00",))) == [""]
    assert verdicts(story("ijkl"), training=world(10)) == [""]


def test_limits_that_are_given_hold_in_a_small_log_too() -> None:
    assert verdicts(story("ijkl"), training=world(10), max_length=3) == ["odd_length"]
    assert verdicts(story("ijkl"), training=world(10), min_length=5) == ["odd_length"]
    assert verdicts(story("bdfh"), training=world(10), mix=0.3) == ["odd_mix"]
    assert verdicts(story("rstu"), training=world(10), min_popularity=1) == ["odd_popularity"]


def test_limits_say_where_they_come_from() -> None:
    step = Pairs(Reference(world(), load_encoder("letters:8")), PairsConfig(max_length=9))
    assert step.thresholds == {}
    step.judge([story("abdc")])
    assert (step.thresholds["max_length"].value, step.thresholds["max_length"].source) == (9, "set by you")
    assert step.thresholds["min_length"].source.startswith("0.5% quantile of 41 real users")
    assert set(step.thresholds) == {"min_length", "max_length", "min_popularity", "max_popularity", "mix"}


def test_a_category_has_to_be_a_column() -> None:
    with pytest.raises(InputError, match="category 'genres' is no attribute column; did you mean 'genre'"):
        verdicts(story("abdc"), category="genres")


def test_pairs_below_the_floor_fall() -> None:
    pairs = [
        Sample(str(weight), "interactions", "z", interactions=(Pair(f"u0{n}", "z"),), weight=weight)
        for n, weight in enumerate((0.2, 0.5))
    ]
    assert verdicts(*pairs, floor=0.5) == ["below_floor", ""]
    assert verdicts(*pairs) == ["", ""]
