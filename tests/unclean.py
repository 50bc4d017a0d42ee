"""Rows of raw files to be cleaned: three fruits, and a log of one row unless another is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from llm_aug.clean import CleanOptions, CleanResult, clean
from llm_aug.sources.raw import RawDataset, RawTable, object_columns

LENIENT = 10**6


FRUIT = [{"item_id": "1", "title": "Apple"}, {"item_id": "2", "title": "Pear"}, {"item_id": "3", "title": "Plum"}]


Rows = list[dict[str, Any]]


def raw(items: Rows, log: Rows) -> RawDataset:
    tables = []
    for name, rows in (("items.csv", items), ("interactions.csv", log)):
        tables.append(RawTable(name, object_columns(rows), np.arange(2, 2 + len(rows))))
    return RawDataset(*tables, files=())


def cleaned(items: Rows = FRUIT, log: Rows | None = None, **options: Any) -> CleanResult:
    log = [{"user_id": "7", "item_id": "1"}] if log is None else log
    return clean(raw(items, log), CleanOptions(**{"max_bad_rows": LENIENT, **options}))


def drops(result: CleanResult) -> list[tuple[str, int, str, str]]:
    return [tuple(row) for row in result.dropped.to_numpy().tolist()]  # type: ignore[misc]
