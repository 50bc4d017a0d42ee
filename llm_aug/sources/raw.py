"""What a reader of a foreign format hands to `clean`: rows as they stand in the file, each with its row number.

One row of items: file "items.csv", line 2, {"item_id": "1", "title": "Toy Story", "genres": "Comedy"}
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from llm_aug.errors import InputError, did_you_mean


@dataclass(frozen=True)
class RawTable:
    """lines: [len(frame)] row numbers in `file`, from 1, a csv header counted. unreadable: (line, reason slug)."""

    file: str
    frame: pd.DataFrame
    lines: NDArray[np.int64]
    unreadable: tuple[tuple[int, str], ...] = ()

    @property
    def columns(self) -> list[str]:
        return [str(name) for name in self.frame.columns]

    def column(self, name: str) -> pd.Series:
        return self.frame[name]

    def parts(self, names: Collection[str]) -> Iterator[pd.DataFrame]:
        """The rows in their order, with these of its columns, in one piece or in several."""
        yield self.frame[[name for name in self.frame if name in names]]

    def renamed(self, columns: Mapping[str, str]) -> RawTable:
        """columns: ours -> theirs, of which it need not have all."""
        return replace(self, frame=_renamed(self.frame, columns))


@dataclass(frozen=True)
class RawDataset:
    """files: what was read, for the hashes in `clean.json`."""

    items: RawTable
    interactions: RawTable
    files: tuple[Path, ...]


def rename(raw: RawDataset, columns: Mapping[str, str]) -> RawDataset:
    """Gives columns our names, {"item_id": "asin"} (ours -> theirs), in each of the two tables that has them.

    Raises InputError where neither has one. A column that was in the way of a new name is left out.
    """
    tables = (raw.items, raw.interactions)
    known = {name for table in tables for name in table.columns}
    for ours, theirs in columns.items():
        if theirs not in known:
            raise InputError(
                f"{raw.items.file} and {raw.interactions.file} have no column {theirs!r} "
                f"(asked for as {ours!r}); {did_you_mean(theirs, known)}"
            )
    return replace(raw, items=raw.items.renamed(columns), interactions=raw.interactions.renamed(columns))


def new_names(names: Iterable[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Ours -> theirs, of every column that stays; the renamed ones come first."""
    names = list(names)
    present = {ours: theirs for ours, theirs in columns.items() if theirs in names}
    gone = {*present, *present.values()}
    return present | {name: name for name in names if name not in gone}


def _renamed(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({ours: frame[name] for ours, name in new_names(frame, columns).items()}, index=frame.index)


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A string column from bytes or from strings nobody has checked: what is not UTF-8 becomes U+FFFD."""
    raw = column.cast(pa.large_binary())
    try:
        return raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        texts = [None if value is None else value.decode("utf-8", "replace") for value in raw.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.large_string())])


def storable(text: str) -> str:
    """The text with lone surrogates, which no file of ours can hold, as U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def object_columns(records: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """One object column per key seen; dtypes are not inferred, so a missing value makes no float of a long id."""
    names = list(dict.fromkeys(name for record in records for name in record))
    return pd.DataFrame({name: pd.Series([r.get(name) for r in records], dtype=object) for name in names})
