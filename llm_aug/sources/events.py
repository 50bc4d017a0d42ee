"""What users did, from one file of any format: parquet, csv, tsv or jsonl of `user_id, item_id[, timestamp]`.

{"zoe": ["i0", "i4"]}  a user's items, oldest first
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_aug.clean_values import broken, identifiers, seconds
from llm_aug.errors import InputError
from llm_aug.sources.table import read_table


def read_histories(path: Path) -> dict[str, list[str]]:
    """Users in the order of their first row; without times, and at equal times, the order of the rows counts.

    Raises InputError for a file without events, and for the first row that is not one.
    """
    raw = read_table(path)
    frame = raw.frame
    if not {"user_id", "item_id"} <= set(frame.columns):
        raise InputError(
            f"{path} holds no events: it needs the columns 'user_id' and 'item_id' "
            f"(columns: {', '.join(map(str, frame.columns))})"
        )
    if raw.unreadable:
        line, reason = raw.unreadable[0]
        raise InputError(f"{path}, row {line}: {reason}; mend or remove the row")
    if frame.empty:
        raise InputError(f"{path} holds no events")
    columns = {name: identifiers(frame[name]) for name in ("user_id", "item_id")}
    for name, ids in columns.items():
        _refuse(path, raw.lines, (ids == "") | broken(pd.Series(ids, dtype=object)), f"no usable {name}")
    events = pd.DataFrame(columns)
    if "timestamp" in frame:
        times, impossible = seconds(frame["timestamp"], Counter())
        missing = pd.isna(times)
        _refuse(path, raw.lines, impossible | (missing & ~missing.all()), "no usable timestamp, though others have one")
        events = events.assign(time=times).sort_values("time", kind="stable")
    histories: dict[str, list[str]] = {user: [] for user in columns["user_id"]}
    for user, item in zip(events["user_id"], events["item_id"], strict=True):
        histories[user].append(item)
    return histories


def _refuse(path: Path, lines: NDArray[np.int64], rows: NDArray[np.bool_], what: str) -> None:
    if rows.any():
        first = int(lines[rows.argmax()])
        raise InputError(f"{path}: {int(rows.sum())} rows have {what}, the first is row {first}; mend or remove them")
