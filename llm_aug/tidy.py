"""Frames as they come from any parquet file -> frames with our columns, or an error that says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from llm_aug.errors import InputError
from llm_aug.files import parquet_batches, read_parquet
from llm_aug.text import is_encodable

ITEM_COLUMNS = ("item_id", "title", "description")
INTERACTION_COLUMNS = ("user_id", "item_id", "timestamp", "rating", "weight", "is_synthetic")
REVIEW = "review"  # a column of a log that holds what users wrote


def tidy_items(frame: pd.DataFrame) -> pd.DataFrame:
    """Known columns first, every value a string, missing values empty. Raises InputError on a missing column."""
    if "item_id" not in frame:
        raise InputError(f"items have no column 'item_id' (columns: {', '.join(map(str, frame.columns))})")
    frame = frame.copy()
    for column in ("title", "description"):
        if column not in frame:
            frame[column] = ""
    rest = [column for column in frame.columns if column not in ITEM_COLUMNS]
    return pd.DataFrame({str(column): _strings(frame[column]) for column in (*ITEM_COLUMNS, *rest)})


def tidy_interactions(frame: pd.DataFrame) -> pd.DataFrame:
    """INTERACTION_COLUMNS in order, then REVIEW if there is one; timestamp (Int64) and rating (float) may be missing.

    Raises InputError on a missing column, a value that is no number, and a weight that is negative or missing.
    """
    for column in ("user_id", "item_id"):
        if column not in frame:
            raise InputError(f"interactions have no column {column!r} (columns: {', '.join(map(str, frame.columns))})")
    n = len(frame)
    weight = _numbers(frame["weight"]) if "weight" in frame else np.ones(n)
    unusable = ~(np.isfinite(weight) & (weight >= 0))
    if unusable.any():
        first = int(np.flatnonzero(unusable)[0])
        raise InputError(f"interactions: row {first + 1} has the weight {weight[first]}; a weight is finite and >= 0")
    columns = {
        "user_id": _strings(frame["user_id"]),
        "item_id": _strings(frame["item_id"]),
        "timestamp": _seconds(frame["timestamp"]) if "timestamp" in frame else _seconds(pd.Series([pd.NA] * n)),
        "rating": _numbers(frame["rating"]) if "rating" in frame else np.full(n, np.nan),
        "weight": weight,
        "is_synthetic": np.asarray(frame["is_synthetic"], bool) if "is_synthetic" in frame else np.zeros(n, bool),
    }
    if REVIEW in frame:
        columns[REVIEW] = _strings(frame[REVIEW])
    return pd.DataFrame(columns)


def read_items(path: Path) -> pd.DataFrame:
    """Raises InputError where an item has no id, or one that another has, too."""
    items = items_of(read_parquet(path))
    _refuse_ids(path, items["item_id"])
    return items


def read_item_ids(path: Path) -> pd.DataFrame:
    """As `read_items`, but that every other column is empty."""
    items = items_of(pa.concat_tables(parquet_batches(path, ("item_id",))))
    _refuse_ids(path, items["item_id"])
    return items


def items_of(table: pa.Table) -> pd.DataFrame:
    """The same for a table and for parts of it: an integer beside a missing value stays one."""
    return tidy_items(table.to_pandas(integer_object_nulls=True))


def _refuse_ids(path: Path, ids: pd.Series) -> None:
    _refuse(path, ids.duplicated(), "an item_id that stands there before")
    _refuse(path, ids == "", "no item_id")


def read_interactions(path: Path) -> pd.DataFrame:
    """Raises InputError where a row names no user or no item."""
    interactions = tidy_interactions(read_parquet(path).to_pandas())
    for name in ("user_id", "item_id"):
        _refuse(path, interactions[name] == "", f"no {name}")
    return interactions


def _refuse(path: Path, rows: pd.Series, what: str) -> None:
    if rows.any():
        raise InputError(f"{path}: {rows.sum()} rows have {what}, the first is row {rows.to_numpy().argmax() + 1}")


def _strings(column: pd.Series) -> NDArray[np.object_]:
    """7, 7.0 and "7" are one id; missing is ''; a list is joined by '|'. Raises on text that no file can hold."""
    found = [value if type(value) is str else _string(value) for value in column]
    try:
        "".join(found).encode()
    except UnicodeEncodeError:
        row = next(row for row, value in enumerate(found, 1) if not is_encodable(value))
        raise InputError(f"column {column.name!r}, row {row}: a lone surrogate is no text; run prepare first") from None
    return np.array(found, dtype=object)


def _string(value: Any) -> str:
    if isinstance(value, list | tuple | np.ndarray):
        return "|".join(_string(part) for part in value)
    if pd.isna(value):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value)


def _seconds(column: pd.Series) -> Any:
    try:
        return pd.array(column, dtype="Int64")
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"column 'timestamp' holds no whole Unix seconds ({error}); run prepare first") from error


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    try:
        return np.asarray(column.to_numpy(dtype=float, na_value=np.nan))
    except (TypeError, ValueError) as error:
        raise InputError(f"column {column.name!r} holds something that is no number ({error})") from error
