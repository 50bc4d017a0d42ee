"""A catalogue larger than memory: items by parts in file order, and one by one in any order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from llm_aug import files
from llm_aug.data import Dataset, Split
from llm_aug.files import parquet_batches
from llm_aug.splits import read_split
from llm_aug.spool import Spool
from llm_aug.tidy import items_of, read_items


class SpooledDataset(Dataset):
    """Items that lie in a spool, each as a list of the values of `columns`. Whoever asks for `items` has them loaded.

    numbers: theirs in the spool, in the order of the rows.
    """

    def __init__(self, columns: Sequence[str], spool: Spool, numbers: Sequence[int], log: pd.DataFrame) -> None:
        vars(self).update(names=[*columns], spool=spool, numbers=numbers, interactions=log)

    names: list[str]
    spool: Spool
    numbers: Sequence[int]

    @cached_property
    def items(self) -> pd.DataFrame:
        return pd.concat([self._frame(()), *self.parts()], ignore_index=True)

    @property
    def columns(self) -> list[str]:
        return self.names

    def values(self, column: str) -> Iterator[list[Any]]:
        return (part[column].tolist() for part in self.parts())

    def rows(self, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.names, self._values(number), strict=True)) for number in numbers)

    def parts(self, numbers: Sequence[int] | None = None) -> Iterator[pd.DataFrame]:
        rows = range(len(self.numbers)) if numbers is None else numbers
        for start in range(0, len(rows), files.BATCH_ROWS):
            yield self._frame(rows[start : start + files.BATCH_ROWS])

    def _frame(self, rows: Iterable[int]) -> pd.DataFrame:
        return pd.DataFrame([self._values(row) for row in rows], columns=self.names, dtype="str")

    def _values(self, row: int) -> list[Any]:
        found: list[Any] = self.spool[int(self.numbers[row])]
        return found


class StoredDataset(Dataset):
    """Equal to the loaded one in all that it tells. Whoever asks for `items` has them read as a whole.

    In memory: 8 bytes of each item. folder: where the items lie once more, as JSON, from the first `rows` on.
    """

    def __init__(self, path: Path, interactions: pd.DataFrame, folder: Path) -> None:
        vars(self).update(interactions=interactions, path=path, folder=folder)

    path: Path
    folder: Path

    @cached_property
    def items(self) -> pd.DataFrame:
        return read_items(self.path)

    @cached_property
    def columns(self) -> list[str]:
        return list(next(self._parts()).columns)

    def values(self, column: str) -> Iterator[list[Any]]:
        return (part[column].tolist() for part in self._parts({"item_id", column}))

    def rows(self, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
        return self._spooled.rows(numbers)

    def parts(self, numbers: Sequence[int] | None = None) -> Iterator[pd.DataFrame]:
        return self._parts() if numbers is None else self._spooled.parts(numbers)

    @cached_property
    def _spooled(self) -> SpooledDataset:
        spool = Spool(self.folder)
        for part in self._parts():
            for row in part.itertuples(index=False, name=None):
                spool.append(row)
        return SpooledDataset(self.columns, spool, range(len(spool)), self.interactions)

    def _parts(self, columns: Collection[str] | None = None) -> Iterator[pd.DataFrame]:
        return map(items_of, parquet_batches(self.path, columns))


def read_training(split: Path, folder: Path, log: bool) -> tuple[Split, Dataset]:
    """A split and what it hands a task; log: whether the task reads the log, else it asks item by item."""
    found = read_split(split, ids_only=not log)
    return found, found.training if log else StoredDataset(split / "items.parquet", found.train, folder)
