"""Foreign frames made ours: ids that agree whatever they came as, and an error that names the row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from llm_aug.data import Dataset, item_texts, read_dataset, write_dataset
from llm_aug.errors import InputError
from llm_aug.tidy import INTERACTION_COLUMNS, ITEM_COLUMNS, tidy_interactions, tidy_items

FRUITS = ["apple", "pear", "plum"]


def items(**columns: Any) -> pd.DataFrame:
    return tidy_items(pd.DataFrame({"item_id": ["1", "2", "3"], "title": FRUITS, **columns}))


def log(**columns: Any) -> pd.DataFrame:
    return tidy_interactions(pd.DataFrame({"user_id": ["a", "b"], "item_id": ["1", "2"], **columns}))


@pytest.mark.parametrize(
    "ids",
    [
        pd.Series(["7", "8"]),
        pd.Series(["7", "8"], dtype="category"),
        pd.Series([7, 8]),
        pd.Series([7, 8], dtype="Int64"),
        pd.Series([7.0, 8.0]),
        pd.Series([7.0, 8.0], dtype="float32"),
        pd.Series([7, 8.0], dtype=object),
        pd.Series(["7", 8], dtype=object),
    ],
)
def test_ids_are_the_same_strings_whatever_they_came_as(ids: pd.Series) -> None:
    assert list(tidy_items(pd.DataFrame({"item_id": ids}))["item_id"]) == ["7", "8"]
    assert list(tidy_interactions(pd.DataFrame({"user_id": ids, "item_id": ids}))["user_id"]) == ["7", "8"]


def test_numbers_beside_a_missing_value_keep_no_point() -> None:
    frame = tidy_items(
        pd.DataFrame({"item_id": ["a", "b", "c"], "year": [1995, None, 2001], "price": [1.5, np.nan, 2.0]})
    )
    assert list(frame["year"]) == ["1995", "", "2001"]
    assert list(frame["price"]) == ["1.5", "", "2"]


def test_odd_values_become_text() -> None:
    frame = items(
        genres=[["Sweet", "Red"], np.array(["Green"]), []],
        huge=[1e20, np.inf, -0.0],
        when=pd.to_datetime(["2020-01-01", None, "2020-01-03"]),
        nul=["a\0b", None, pd.NA],
    )
    assert list(frame["genres"]) == ["Sweet|Red", "Green", ""]
    assert list(frame["huge"]) == ["100000000000000000000", "inf", "0"]
    assert list(frame["when"])[1] == ""
    assert list(frame["nul"]) == ["a\0b", "", ""]


def test_a_lone_surrogate_is_refused_with_its_row() -> None:
    with pytest.raises(InputError, match="column 'title', row 2: a lone surrogate is no text"):
        tidy_items(pd.DataFrame({"item_id": ["1", "2"], "title": pd.Series(["fine", "\ud800"], dtype=object)}))


def test_columns_come_in_order_and_are_added() -> None:
    frame = tidy_items(pd.DataFrame({"year": ["1995"], "item_id": ["1"]}))
    assert list(frame.columns) == [*ITEM_COLUMNS, "year"]
    assert Dataset(frame, log()).attributes == ["year"]
    assert list(log().columns) == list(INTERACTION_COLUMNS)
    assert log().iloc[0].tolist()[:2] == ["a", "1"]
    assert (list(log()["weight"]), list(log()["is_synthetic"])) == ([1.0, 1.0], [False, False])
    assert log()["timestamp"].isna().all()
    assert log()["rating"].isna().all()


def test_reviews_are_kept_where_a_log_has_them(tmp_path: Path) -> None:
    said = log(review=pd.Series(["Crisp.", None], dtype=object))
    assert list(said.columns) == [*INTERACTION_COLUMNS, "review"]
    assert list(said["review"]) == ["Crisp.", ""]
    write_dataset(tmp_path, Dataset(items(), said))
    pd.testing.assert_frame_equal(read_dataset(tmp_path).interactions, said)
    pd.testing.assert_frame_equal(tidy_interactions(said), said)
    with pytest.raises(InputError, match="column 'review', row 1: a lone surrogate"):
        log(review=pd.Series(["\ud800", None], dtype=object))


def test_tidying_twice_changes_nothing() -> None:
    once = log(timestamp=[5, None], rating=[4, None], weight=[0.5, 1], is_synthetic=[True, False])
    pd.testing.assert_frame_equal(tidy_interactions(once), once)
    pd.testing.assert_frame_equal(tidy_items(items(year=[1, None, 3])), items(year=[1, None, 3]))


@pytest.mark.parametrize(("tidy", "missing"), [(tidy_items, "item_id"), (tidy_interactions, "user_id")])
def test_a_missing_column_is_named(tidy: Callable[[pd.DataFrame], pd.DataFrame], missing: str) -> None:
    with pytest.raises(InputError, match=rf"no column '{missing}' \(columns: asin, 0\)"):
        tidy(pd.DataFrame({"asin": ["x"], 0: [1]}))


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"timestamp": [1.5, 2.0]}, "'timestamp' holds no whole Unix seconds"),
        ({"timestamp": ["yesterday", "1"]}, "'timestamp' holds no whole Unix seconds"),
        ({"timestamp": pd.to_datetime(["2020-01-01", "2020-01-02"])}, "'timestamp' holds no whole Unix seconds"),
        ({"rating": ["five", "4"]}, "'rating' holds something that is no number"),
        ({"weight": [1.0, -0.5]}, r"row 2 has the weight -0\.5"),
        ({"weight": [None, 1.0]}, "row 1 has the weight nan"),
        ({"weight": [1.0, np.inf]}, "row 2 has the weight inf"),
    ],
)
def test_values_that_cannot_be_are_refused(columns: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        log(**columns)


@pytest.mark.parametrize("empty", [pd.DataFrame({"user_id": [], "item_id": []}), log().iloc[:0]])
def test_empty_frames_stay_frames(tmp_path: Path, empty: pd.DataFrame) -> None:
    nothing = Dataset(tidy_items(pd.DataFrame({"item_id": []})), tidy_interactions(empty))
    write_dataset(tmp_path, nothing)
    read = read_dataset(tmp_path)
    assert (len(read.items), len(read.interactions)) == (0, 0)
    assert list(read.interactions.columns) == list(INTERACTION_COLUMNS)
    assert item_texts(read) == []


def test_many_ids_take_no_time() -> None:
    many = [f"u{number % 1000}" for number in range(200_000)]
    assert len(tidy_interactions(pd.DataFrame({"user_id": many, "item_id": many}))) == 200_000
