"""A catalogue larger than memory: items of a parquet file by parts in file order, and one by one in any order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from llm_aug.data import Dataset, Split, read_split
from llm_aug.files import parquet_batches
from llm_aug.spool import Spool
from llm_aug.tidy import items_of, read_items


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
        return (dict(zip(self.columns, self._spool[int(number)], strict=True)) for number in numbers)

    @cached_property
    def _spool(self) -> Spool:
        spool = Spool(self.folder)
        for part in self._parts():
            for row in part.itertuples(index=False, name=None):
                spool.append(row)
        return spool

    def _parts(self, columns: Collection[str] | None = None) -> Iterator[pd.DataFrame]:
        return map(items_of, parquet_batches(self.path, columns))


def read_training(split: Path, folder: Path, log: bool) -> tuple[Split, Dataset]:
    """A split and what it hands a task; log: whether the task reads the log, else it asks item by item."""
    found = read_split(split, ids_only=not log)
    return found, found.training if log else StoredDataset(split / "items.parquet", found.train, folder)
