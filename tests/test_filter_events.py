"""What the filter says of pairs, histories and reviews."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from orchard import WordCounts, judge, pair, reasons

from llm_aug.data import Dataset, Origin, Pair, Sample, Verdict, tidy_interactions, tidy_items
from llm_aug.filters import run


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (pair("1", "ann", "apple"), "in_train"),
        (pair("1", "zoe", "car"), "unknown_user"),
        (pair("1", "ann", "melon"), "unknown_item"),
        (pair("1", "ann", "car", 1.5), "weight_out_of_range"),
        (pair("1", "ann", "car", math.inf), "bad_weight"),
        (Sample("1", "interactions", "car", interactions=(Pair("ann", "car"),) * 2), "repeated_pair"),
    ],
)
def test_pairs(bad: Sample, reason: str) -> None:
    assert reasons(bad) == [reason]


def test_pairs_need_no_encoder() -> None:
    encoder = WordCounts()
    assert len(judge(pair("1", "ann", "car"), encoder=encoder).kept) == 1
    assert encoder.asked == []


def test_the_best_weight_of_a_repeated_pair_stays() -> None:
    result = judge(pair("1", "ann", "car", 0.2), pair("2", "ann", "car", 0.9), pair("3", "bob", "pear", 0.1))
    assert [verdict.reason for verdict in result.verdicts] == ["repeated_pair", "", ""]
    assert result.verdicts[0].nearest == "2"


def test_caps_keep_the_best_weights() -> None:
    pairs = [pair("1", "ann", "car", 0.2), pair("2", "ann", "van", 0.9), pair("3", "bob", "van", 0.3)]
    assert reasons(*pairs, pairs={"per_user": 1}) == ["over_user_cap", "", ""]
    assert reasons(*pairs, pairs={"per_item": 1}) == ["", "", "over_item_cap"]


INVENTED = Origin("history/simulate")


EXTENDED = Origin("history/extend", parents=("ann",))


def story(sample_id: str, user: str, *items: str, origin: Origin = INVENTED, weight: float = 1.0) -> Sample:
    """Of one event a day."""
    told = tuple(Pair(user, item, 86_400 * day) for day, item in enumerate(items))
    return Sample(sample_id, "history", user, interactions=told, weight=weight, origin=origin)


def told(log: dict[str, list[str]], *samples: Sample, times: list[int] | None = None) -> list[str]:
    """Reasons against users whose items are named by a letter each, one event a second unless times are given."""
    rows = [(user, item) for user, items in log.items() for item in items]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id"])
    frame["timestamp"] = range(len(frame)) if times is None else times
    items = tidy_items(pd.DataFrame({"item_id": list("abcdefghij"), "title": list("abcdefghij")}))
    result = run(samples, Dataset(items, tidy_interactions(frame)), WordCounts())
    return [verdict.reason for verdict in result.verdicts]


def test_histories_of_an_invented_user_and_of_a_real_one_stay() -> None:
    assert reasons(story("1", "zoe", "car", "van"), story("2", "ann", "car", "van", origin=EXTENDED)) == ["", ""]
    untimed = Sample("1", "history", "zoe", interactions=(Pair("zoe", "car"), Pair("zoe", "van", 5)))
    assert reasons(untimed) == [""]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (story("1", "zoe", "car", weight=1.5), "weight_out_of_range"),
        (Sample("1", "history", "zoe", interactions=(Pair("zoe", "car"), Pair("yan", "van"))), "mixed_users"),
        (Sample("1", "history", "zoe", interactions=(Pair("ann", "car"),)), "mixed_users"),
        (story("1", "zoe", "car", origin=Origin("history/extend", parents=("zoe",))), "unknown_user"),
        (story("1", "zoe", "melon"), "unknown_item"),
        (story("1", "ann", "car", "apple"), "in_train"),
        (story("1", "zoe", "car", "van", "car"), "repeated_item"),
        (Sample("1", "history", "z", interactions=(Pair("z", "car", 9), Pair("z", "van", 8))), "not_increasing"),
        (Sample("1", "history", "z", interactions=(Pair("z", "car", 9), Pair("z", "van", 9))), "not_increasing"),
        (story("1", "zoe", "pear", "apple"), "copied_history"),
    ],
)
def test_a_history_falls_with_its_reason(bad: Sample, reason: str) -> None:
    assert reasons(bad) == [reason]


def test_where_people_come_back_to_a_thing_histories_may_too() -> None:
    again = {"ann": ["a", "b", "a"]}
    assert told(again, story("1", "ann", "a", "c"), story("2", "zoe", "c", "d", "c")) == ["", ""]
    assert told({"ann": ["a", "b"]}, story("1", "ann", "a", "c"), story("2", "zoe", "c", "c")) == [
        "in_train", "repeated_item",
    ]  # fmt: skip


def test_events_of_one_time_stay_where_the_log_has_them() -> None:
    one_day = Sample("1", "history", "zoe", interactions=(Pair("zoe", "c", 7), Pair("zoe", "d", 7)))
    assert told({"ann": ["a", "b"]}, one_day, times=[3, 3]) == [""]
    assert told({"ann": ["a", "b"]}, one_day) == ["not_increasing"]


def test_a_users_history_is_told_once_in_whatever_order() -> None:
    result = judge(story("b", "ann", "car", "van"), story("a", "ann", "van", "car"), story("c", "ann", "car", "truck"))
    assert [verdict.reason for verdict in result.verdicts] == ["repeated_history", "", ""]
    assert result.verdicts[0].nearest == "a"
    assert reasons(story("a", "ann", "car", "van", weight=0.5), story("b", "ann", "car", "van")) == [
        "repeated_history", "",
    ]  # fmt: skip
    assert reasons(story("a", "zoe", "car", "van"), story("b", "yan", "car", "van")) == ["", ""]


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ("gfedcba", "copied_history"),  # his items in another order
        ("bcdef", "copied_history"),  # five of his in a row
        ("bcde", ""),  # four are chance
        ("bcdfe", ""),
        ("jabcdefg", "copied_history"),  # his whole history, and one thing before it
        ("jabcdef", "copied_history"),  # one of his exchanged
        ("jabcde", "copied_history"),
        ("jabcd", ""),
        ("hi", "copied_history"),
        ("jhi", ""),  # a run of two is chance
        ("j", ""),  # bob had it and nothing else, as many may
    ],
)
def test_an_invented_user_is_no_real_one_under_another_name(items: str, reason: str) -> None:
    real = {"ann": list("abcdefg"), "eve": list("hi"), "bob": ["j"]}
    assert told(real, story("1", "zoe", *items)) == [reason]
    if reason:
        assert told({name: own for name, own in real.items() if name == "bob"}, story("1", "zoe", *items)) == [""]


def test_a_copied_history_names_whom_it_gives_away() -> None:
    assert judge(story("1", "zoe", "pear", "apple")).verdicts[0] == Verdict(False, "copied_history", 1.0, "ann")
    assert reasons(story("1", "bob", "apple", "pear")) == [""]  # bob is real: he may have liked what ann did


def test_histories_and_pairs_share_the_caps_and_no_pair_comes_twice() -> None:
    samples = [
        story("1", "ann", "car", "van"),
        pair("2", "ann", "truck"),
        pair("3", "ann", "van"),
        pair("4", "bob", "van"),
    ]
    assert reasons(*samples) == ["", "", "repeated_pair", ""]
    assert reasons(*samples, pairs={"per_user": 2}) == ["", "over_user_cap", "repeated_pair", ""]
    assert reasons(*samples, pairs={"per_item": 1}) == ["", "", "repeated_pair", "over_item_cap"]
    assert reasons(*samples, pairs={"per_user": 1}) == ["over_user_cap", "", "over_user_cap", ""]


def review(sample_id: str, user: str, item: str, text: str, weight: float = 1.0) -> Sample:
    return Sample(sample_id, "review", item, text, (Pair(user, item, rating=4.0),), weight)


def test_a_review_is_of_a_known_user_and_item_and_takes_nothing_from_the_pairs() -> None:
    assert reasons(
        review("1", "zoe", "car", "a fast car with old doors"),
        review("2", "ann", "melon", "a sweet red melon by hand"),
        review("3", "ann", "car", "a fast vehicle by hand", 1.5),
        review("4", "ann", "car", "a fast car with two doors"),
        review("5", "ann", "car", "heavy hauling by hand and seats"),
        pair("6", "ann", "car"),
        pairs={"per_user": 1},
    ) == ["unknown_user", "unknown_item", "weight_out_of_range", "", "", ""]
    assert reasons(Sample("1", "review", "car", "fast old car with doors")) == [""]  # queries have no pair
