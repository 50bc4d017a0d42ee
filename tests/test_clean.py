"""What cleaning keeps and drops, by line and reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unclean import FRUIT, Rows, cleaned, drops, raw

from eval.split import cut
from llm_aug import sources
from llm_aug.clean import CHOSEN, CleanOptions, CleanResult, clean, write_clean
from llm_aug.data import INTERACTION_COLUMNS, read_dataset
from llm_aug.errors import InputError
from llm_aug.files import read_parquet, sha256_file
from llm_aug.sources.raw import RawDataset, RawTable
from llm_aug.splits import read_split, write_split


def kept_pairs(result: CleanResult) -> list[tuple[str, str]]:
    return list(zip(result.dataset.interactions["user_id"], result.dataset.interactions["item_id"], strict=True))


def test_items_are_dropped_with_line_and_reason() -> None:
    items = [
        *FRUIT,
        {"item_id": None, "title": "nameless"},
        {"item_id": "4", "title": " <p></p>"},
        {"item_id": 1.0, "title": "Apple again"},
        {"item_id": "5\x00", "title": "NUL"},
        {"item_id": "6", "title": "", "description": "text enough"},
    ]
    result = cleaned(items)
    assert drops(result) == [
        ("items.csv", 5, "missing_item_id", ""),
        ("items.csv", 6, "empty_text", "4"),
        ("items.csv", 7, "repeated_item", "1"),
        ("items.csv", 8, "broken_item_id", "5\x00"),
    ]
    assert result.dataset.items["item_id"].tolist() == ["1", "2", "3", "6"]
    assert result.dataset.items["title"].tolist()[0] == "Apple"
    assert result.counts["items"] == {
        "file": "items.csv",
        "read": 8,
        "kept": 4,
        "dropped": {"broken_item_id": 1, "empty_text": 1, "missing_item_id": 1, "repeated_item": 1},
    }


def test_interactions_are_dropped_with_line_and_reason() -> None:
    good = {"user_id": "7", "item_id": "1", "rating": "4", "timestamp": "964982703"}
    log = [
        good,
        {**good, "user_id": ""},
        {**good, "item_id": None},
        {**good, "item_id": "99"},
        {**good, "item_id": "4"},
        {**good, "rating": "good"},
        {**good, "rating": float("inf")},
        {**good, "rating": -1},
        {**good, "timestamp": "-5"},
        {**good, "timestamp": "yesterday"},
        {**good, "timestamp": "5000000000"},
        {**good, "user_id": "8", "rating": "", "timestamp": ""},
    ]
    result = cleaned([*FRUIT, {"item_id": "4", "title": ""}], log)
    assert [(line, reason) for _, line, reason, _ in drops(result)[1:]] == [
        (3, "missing_user_id"),
        (4, "missing_item_id"),
        (5, "unknown_item"),
        (6, "item_dropped"),
        (7, "impossible_rating"),
        (8, "impossible_rating"),
        (9, "impossible_rating"),
        (10, "impossible_time"),
        (11, "impossible_time"),
        (12, "impossible_time"),
    ]
    assert drops(result)[3] == ("interactions.csv", 5, "unknown_item", "7 99")
    assert kept_pairs(result) == [("7", "1"), ("8", "1")]
    assert tuple(result.dataset.interactions.columns) == INTERACTION_COLUMNS
    assert result.dataset.interactions["rating"].isna().tolist() == [False, True]
    assert result.dataset.interactions["timestamp"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("value", "seconds", "repair"),
    [
        ("964982703", 964982703, None),
        (964982703.0, 964982703, None),
        (0, 0, None),
        (964982703.75, 964982703, "fraction_of_second_cut"),
        ("964982703123", 964982703, "milliseconds_to_seconds"),
        (964982703123456, 964982703, "milliseconds_to_seconds"),
        (964982703123456789, 964982703, "milliseconds_to_seconds"),
        ("2000-07-30T18:45:03Z", 964982703, "date_to_seconds"),
        ("2000-07-30 20:45:03.9+02:00", 964982703, "date_to_seconds"),
        (pd.Timestamp("2000-07-30 18:45:03"), 964982703, "date_to_seconds"),
    ],
)
def test_times_become_unix_seconds(value: Any, seconds: int, repair: str | None) -> None:
    result = cleaned(log=[{"user_id": "7", "item_id": "1", "timestamp": value}])
    assert result.dataset.interactions["timestamp"].tolist() == [seconds]
    assert result.repaired == ({} if repair is None else {repair: 1})


@pytest.mark.parametrize(
    "value", ["now", "today", "nan", "[1]", [3], "9999-01-01", "0001-01-01", "2001-13-01", 10**400]
)
def test_impossible_times(value: Any) -> None:
    log = [{"user_id": "7", "item_id": "1"}, {"user_id": "8", "item_id": "1", "timestamp": value}]
    assert drops(cleaned(log=log)) == [("interactions.csv", 3, "impossible_time", "8 1")]


def test_datetime_column_of_a_parquet_file() -> None:
    source = raw(FRUIT, [])
    when = pd.to_datetime(pd.Series(["2000-07-30 18:45:03", None]))
    frame = pd.DataFrame({"user_id": [7, 8], "item_id": [1, 2], "timestamp": when})
    source = RawDataset(source.items, RawTable("interactions.parquet", frame, np.array([1, 2])), ())
    times = clean(source).dataset.interactions["timestamp"]
    assert times[0] == 964982703
    assert times.isna().tolist() == [False, True]


def test_of_a_repeated_pair_the_latest_counts_even_below_the_threshold() -> None:
    log = [
        {"user_id": "7", "item_id": "1", "rating": 2, "timestamp": 200},
        {"user_id": "7", "item_id": "1", "rating": 5, "timestamp": 100},
        {"user_id": "7", "item_id": "2", "rating": 4, "timestamp": 100},
        {"user_id": "7", "item_id": "2", "rating": 5, "timestamp": 100},
    ]
    result = cleaned(log=log)
    assert result.dataset.interactions["rating"].tolist() == [2.0, 5.0]
    assert [drop[1:3] for drop in drops(result)] == [(3, "repeated_pair"), (4, "repeated_pair")]
    strict = cleaned(log=log, min_rating=3.0)
    assert kept_pairs(strict) == [("7", "2")]
    assert ("interactions.csv", 2, "below_min_rating", "7 1") in drops(strict)


def test_what_users_wrote_is_cleaned_as_descriptions_are() -> None:
    odd = "\ud800<b>Crisp</b>\x00 &amp;\nfresh\x07"
    told = [odd, None, ["Too", "sour."], "x" * 10_000_000, 7.0]
    log = [{"user_id": str(n), "item_id": "1", "review": said} for n, said in enumerate(told)]
    result = cleaned(log=log)
    assert list(result.dataset.interactions["review"]) == ["Crisp & fresh", "", "Too sour.", "x" * 20_000, "7"]
    assert result.repaired == {"characters_removed": 1, "html_removed": 1, "text_cut": 1}
    assert cleaned(log=log, keep_html=True).dataset.interactions["review"][0] == "<b>Crisp</b> &amp; fresh"
    assert "review" not in cleaned().dataset.interactions


def test_a_review_goes_from_the_file_to_its_row_of_the_split(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("asin,title\n" + "".join(f"{n},Thing {n}\n" for n in range(8)))
    rows = [f'{user},{item},4,"by <i>{user}</i>\nof {item}"\n' for user in range(6) for item in range(8)]
    (tmp_path / "interactions.csv").write_text("user_id,asin,rating,reviewText\n" + "".join(rows))
    raw = sources.read(tmp_path, {"item_id": "asin", "review": "reviewText"})
    write_clean(tmp_path / "data", clean(raw))
    write_split(tmp_path / "split", cut(read_dataset(tmp_path / "data")))
    split = read_split(tmp_path / "split")
    for part in (split.train, split.validation, split.test):
        said = [f"by {user} of {item}" for user, item in zip(part["user_id"], part["item_id"], strict=True)]
        assert list(part["review"]) == said
        assert said


def test_threshold_needs_ratings() -> None:
    log = [{"user_id": "7", "item_id": "1", "rating": 3}, {"user_id": "8", "item_id": "1", "rating": None}]
    assert drops(cleaned(log=log, min_rating=3.0)) == [("interactions.csv", 3, "missing_rating", "8 1")]
    with pytest.raises(InputError, match=r"interactions\.csv has no column 'rating', which min_rating asks for"):
        cleaned(min_rating=3.0)


def test_minimum_counts_are_applied_until_nothing_changes() -> None:
    """User 9 leaves, so item 3 has one pair and leaves, so user 8 has one pair and leaves; 5, 6, 7 stay."""
    pairs = [("5", "1"), ("5", "2"), ("6", "1"), ("6", "2"), ("7", "1"), ("7", "2"), ("8", "1"), ("8", "3"), ("9", "3")]
    log = [{"user_id": user, "item_id": item} for user, item in pairs]
    result = cleaned(log=log, min_item_count=2, min_user_count=2)
    assert kept_pairs(result) == pairs[:6]
    assert result.dataset.items["item_id"].tolist() == ["1", "2"]
    assert drops(result) == [
        ("items.csv", 4, "item_below_min_count", "3"),
        ("interactions.csv", 8, "user_below_min_count", "8 1"),
        ("interactions.csv", 9, "item_below_min_count", "8 3"),
        ("interactions.csv", 10, "user_below_min_count", "9 3"),
    ]
    assert set(result.dropped["reason"]) <= CHOSEN
    assert len(cleaned(log=log).dataset.items) == 3


def test_attributes_leave_out_keys_links_and_popularity_unless_asked_for() -> None:
    extra = {
        "genres": ["A", "B"],
        "year": 1995.0,
        "imdb_id": 1,
        "imUrl": "x",
        "num_votes": 9,
        "also_buy": "z",
        "idea": "i",
    }
    items = [{**FRUIT[0], **extra}]
    result = cleaned(items)
    assert result.dataset.attributes == ["genres", "year", "idea"]
    assert result.dataset.items[["genres", "year"]].to_numpy().tolist() == [["A, B", "1995"]]
    assert result.left_out == ("imdb_id", "imUrl", "num_votes", "also_buy")
    assert cleaned(items, attributes=("imdb_id",)).dataset.attributes == ["imdb_id"]
    with pytest.raises(InputError, match="no column 'genre' to keep as an attribute; did you mean 'genres'"):
        cleaned(items, attributes=("genre",))


def test_written_folder_reads_back_and_accounts_for_every_row(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("anything")
    source = raw(FRUIT, [{"user_id": "7", "item_id": "1"}, {"user_id": "", "item_id": "1"}])
    source = RawDataset(source.items, source.interactions, (tmp_path / "items.csv",))
    result = clean(source, CleanOptions(min_item_count=1))
    write_clean(tmp_path / "data", result)
    again = read_dataset(tmp_path / "data")
    pd.testing.assert_frame_equal(again.items, result.dataset.items)
    pd.testing.assert_frame_equal(again.interactions, result.dataset.interactions)
    found = json.loads((tmp_path / "data" / "clean.json").read_text())
    assert found["counts"]["interactions"]["dropped"] == {"missing_user_id": 1}
    assert found["sha256"] == {"items.csv": sha256_file(tmp_path / "items.csv")}
    assert found["options"]["min_item_count"] == 1
    assert found["dropped"][-1] == {"file": "interactions.csv", "line": 3, "reason": "missing_user_id", "id": " 1"}
    assert read_parquet(tmp_path / "data" / "dropped.parquet").num_rows == 3


dirty = st.sampled_from(["1", "2", 2, 2.0, "", None, "x\x00", "99", float("nan"), [1]])


number = st.sampled_from(["4", 5, 1.5, "", None, "bad", -1, float("inf"), 10**400, True])


moment = st.sampled_from(["964982703", 964982703000, None, "2001-01-01", "now", -3, 5e9, 1.5, {}])


text = st.one_of(st.text(max_size=8), st.sampled_from(["", None, "<br>", "Plum &amp; Pear", ["a", "b"]]))


item_rows = st.lists(st.fixed_dictionaries({"item_id": dirty, "title": text}), max_size=8)


log_rows = st.lists(
    st.fixed_dictionaries({"user_id": dirty, "item_id": dirty, "rating": number, "timestamp": moment}), max_size=25
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(item_rows, log_rows, st.integers(0, 2), st.sampled_from([None, 2.0]))
def test_every_row_read_is_kept_or_dropped_once(items: Rows, log: Rows, least: int, threshold: float | None) -> None:
    items, log = [*FRUIT, *items], [*log, *({"user_id": u, "item_id": i, "rating": 5} for u in "56" for i in "12")]
    result = cleaned(items, log, min_item_count=least, min_user_count=least, min_rating=threshold)
    for name, rows, frame in (
        ("items", items, result.dataset.items),
        ("interactions", log, result.dataset.interactions),
    ):
        lines = result.dropped.loc[result.dropped["file"] == f"{name}.csv", "line"]
        assert len(rows) == len(frame) + len(lines)
        assert lines.is_unique
        assert lines.between(2, len(rows) + 1).all()
    kept = result.dataset.interactions
    assert not kept.duplicated(["user_id", "item_id"]).any()
    assert set(kept["item_id"]) <= set(result.dataset.items["item_id"])
    assert kept.groupby("user_id").size().min() >= least
    assert kept.groupby("item_id").size().min() >= least
