"""Invented users against real ones: copies with gaps and among other things, and lives that nobody lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from llm_aug.data import Dataset, Origin, Pair, Sample, Verdict, tidy_interactions, tidy_items
from llm_aug.errors import InputError
from llm_aug.filters.histories import Log, copies
from llm_aug.filters.pairs import Pairs, PairsConfig
from llm_aug.filters.reference import Reference
from llm_aug.vectors import load_encoder

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def log(histories: dict[str, Sequence[str]]) -> pd.DataFrame:
    rows = [(user, item) for user, items in histories.items() for item in items]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id"])
    return tidy_interactions(frame.assign(timestamp=range(len(frame))))


@pytest.mark.parametrize(
    ("items", "copied"),
    [
        ("acegi", True),  # every second of hers
        ("aeimq", True),  # spread over 17 of hers: 4 * 5 = 20 at most
        ("agmsy", False),  # over 25 of hers
        ("acgei", False),  # not in her order
        ("aceg", False),  # four are chance
        ("acegi1", False),
        ("1bcdefghi2", True),  # eight in a row, whatever stands around them
        ("1bcdefgh2", False),
    ],
)
def test_a_part_of_a_life_is_a_copy_too(items: str, copied: bool) -> None:
    found = copies({0: tuple(items)}, Log(log({"ann": LETTERS, "bob": "zy"})))
    assert found == ({0: Verdict(False, "copied_history", 1.0, "ann")} if copied else {})


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
