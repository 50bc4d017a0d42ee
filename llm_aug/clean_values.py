"""One column as it stands in a foreign file -> ids, texts, numbers or times, and which of its values are impossible."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_aug.plain_text import plain
from llm_aug.tidy import REVIEW

MAX_ID_CHARS = 1000
YEAR_2100 = 4_102_444_800  # seconds; what is later is a unit mistaken or a typing error
MILLISECONDS_FROM = 1e11  # as seconds this is the year 5138, as milliseconds 1973
_BROKEN_ID = re.compile("[\x00-\x1f\x7f-\x9f\ufeff\ufffd]")
_WHOLE_FLOAT = re.compile(r"-?\d+\.0+")


def identifiers(column: pd.Series) -> NDArray[np.object_]:
    """Ids as strings, missing ones ''. 7, 7.0 and "7" are one id; so is "7.0" where the whole column is written so."""
    codes, uniques = pd.factorize(column.map(_identifier) if column.dtype == object else column)
    ids = [_identifier(value) for value in uniques]
    if ids and all(_WHOLE_FLOAT.fullmatch(value) for value in ids if value):
        ids = [value.partition(".")[0] for value in ids]
    spread: NDArray[np.object_] = np.array([*ids, ""], dtype=object)[codes]  # a missing value has code -1
    return spread


def _identifier(value: Any) -> str:
    if value is None or isinstance(value, list | dict | np.ndarray) or pd.isna(value):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value).strip()


def broken(ids: pd.Series) -> NDArray[np.bool_]:
    """Ids with control characters or undecodable bytes, or beyond MAX_ID_CHARS: mending one could merge two items."""
    codes, uniques = pd.factorize(ids)
    found = [len(value) > MAX_ID_CHARS or _BROKEN_ID.search(value) is not None for value in uniques]
    spread: NDArray[np.bool_] = np.array([*found, False], dtype=bool)[codes]
    return spread


def texts(column: pd.Series, name: str, keep_html: bool, repaired: Counter[str]) -> NDArray[np.object_]:
    """Each value as one plain line; lists are joined, missing values ''. Counts what was mended into `repaired`."""
    joiner = " " if name in ("title", "description", REVIEW) else ", "
    results = [plain(_flat(value, joiner), keep_html) for value in column]
    repaired["html_removed"] += sum(result.html for result in results)
    repaired["characters_removed"] += sum(result.characters for result in results)
    repaired["text_cut"] += sum(result.cut for result in results)
    return np.array([result.text for result in results], dtype=object)


def _flat(value: Any, joiner: str) -> str:
    if isinstance(value, list | np.ndarray):
        return joiner.join(_flat(part, joiner) for part in value)
    if value is None or (not isinstance(value, str | dict) and pd.isna(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def numbers(column: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values with NaN where missing, and which are impossible: not a number (a date is none), infinite or negative."""
    stated = _stated(column)
    dates = pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column)
    values = np.full(len(column), np.nan) if dates else _as_float(column)
    with np.errstate(invalid="ignore"):
        return values, stated & ~(np.isfinite(values) & (values >= 0))


def seconds(column: pd.Series, repaired: Counter[str]) -> tuple[Any, NDArray[np.bool_]]:
    """Unix seconds (Int64, NA where missing), and which are impossible: no time, before 1970 or after 2099.

    Milli-, micro- and nanoseconds are recognised by their size and converted, dates are read as ISO 8601 in UTC,
    fractions of a second are cut off.
    """
    stated = _stated(column)
    typed = pd.api.types.is_datetime64_any_dtype(column)
    values = np.full(len(column), np.nan) if typed else _as_float(column)
    dates = stated & np.isnan(values)
    with np.errstate(invalid="ignore"):
        unit = np.select([values >= MILLISECONDS_FROM * 10**power for power in (6, 3, 0)], [1e9, 1e6, 1e3], 1.0)
        whole = np.floor(values / unit)
        whole[dates] = _from_dates(column[dates] if typed else column[dates].astype(str))
        impossible = stated & ~((whole >= 0) & (whole < YEAR_2100))
    repaired["milliseconds_to_seconds"] += int(((unit > 1) & ~impossible).sum())
    repaired["fraction_of_second_cut"] += int(((unit == 1) & (whole != values) & ~dates & ~impossible & stated).sum())
    repaired["date_to_seconds"] += int((dates & ~impossible).sum())
    return pd.array(np.where(stated & ~impossible, whole, np.nan), dtype="Int64"), impossible


def _from_dates(column: pd.Series) -> NDArray[np.float64]:
    if not pd.api.types.is_datetime64_any_dtype(column):
        # Only what begins with a year: pandas also reads "now" and "today".
        column = pd.to_datetime(
            column.where(column.str.match(r"\d{4}-\d")), errors="coerce", utc=True, format="ISO8601"
        )
    elif column.dt.tz is None:
        column = column.dt.tz_localize("UTC")
    whole = column.dt.tz_convert(None).to_numpy(dtype="datetime64[s]")
    return np.where(np.isnat(whole), np.nan, whole.astype(np.int64).astype(np.float64))


def _as_float(column: pd.Series) -> NDArray[np.float64]:
    if column.dtype == object:
        column = column.astype(str)  # an integer of JSON may be beyond any float
    numeric = pd.to_numeric(column, errors="coerce")
    values: NDArray[np.float64] = numeric.to_numpy(np.float64, na_value=np.nan, copy=True)
    return values


def _stated(column: pd.Series) -> NDArray[np.bool_]:
    stated: NDArray[np.bool_] = column.notna().to_numpy(dtype=bool)
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return stated
    written: NDArray[np.bool_] = (column.astype(str).str.strip() != "").to_numpy(dtype=bool)
    return stated & written
