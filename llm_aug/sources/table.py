"""A folder with `items.*` and `interactions.*`: csv, tsv, parquet or jsonl, the text formats also as .gz."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from llm_aug.errors import InputError
from llm_aug.files import parquet_batches, parquet_shape, read_parquet
from llm_aug.sources import delimited
from llm_aug.sources.raw import RawDataset, RawTable, decoded, new_names, object_columns, storable

TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
SUFFIXES = (".parquet", *TEXT_SUFFIXES, *(f"{suffix}.gz" for suffix in TEXT_SUFFIXES))


def fits(source: Path) -> bool:
    """One of the two files is enough, so that a folder that lacks the other gets an error that says so."""
    return source.is_dir() and any(_candidates(source, name) for name in ("items", "interactions"))


def read(source: Path) -> RawDataset:
    items, interactions = (_the_file(source, name) for name in ("items", "interactions"))
    return RawDataset(read_table(items), read_table(interactions), (items, interactions))


def read_table(path: Path) -> RawTable:
    """Raises InputError where the file as a whole cannot be read; single broken lines are in `unreadable`."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".parquet"):
        return _parquet(path)
    data = _bytes(path)
    if name.endswith((".jsonl", ".ndjson")):
        return _json_lines(data, path.name)
    return delimited.parse(data, path.name, "\t" if name.endswith(".tsv") else ",")


def _candidates(source: Path, name: str) -> list[Path]:
    wanted = {f"{name}{suffix}" for suffix in SUFFIXES}
    return sorted(path for path in source.iterdir() if path.name.lower() in wanted)


def _the_file(source: Path, name: str) -> Path:
    found = _candidates(source, name)
    if not found:
        raise InputError(f"{source} has no {name}.* (one of {', '.join(SUFFIXES)})")
    if len(found) > 1:
        raise InputError(f"{source} has {' and '.join(path.name for path in found)}; keep the one that counts")
    return found[0]


def _bytes(path: Path) -> bytes:
    data = path.read_bytes()
    if not path.name.lower().endswith(".gz"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is not a whole gzip file: {error}") from error


class ParquetTable(RawTable):
    """Equal to the loaded one in all that it tells. Whoever asks for `frame` has it read as a whole.

    names: ours -> the file's.
    """

    def __init__(self, path: Path, rows: int, names: Mapping[str, str]) -> None:
        vars(self).update(file=path.name, lines=np.arange(1, rows + 1), path=path, names=names)

    path: Path
    names: Mapping[str, str]

    @cached_property
    def frame(self) -> pd.DataFrame:
        return _pandas(read_parquet(self.path).select(list(self.names.values())).rename_columns(list(self.names)))

    @property
    def columns(self) -> list[str]:
        return list(self.names)

    def column(self, name: str) -> pd.Series:
        return _pandas(pa.concat_tables(parquet_batches(self.path, {self.names[name]})))[self.names[name]]

    def parts(self, names: Collection[str]) -> Iterator[pd.DataFrame]:
        wanted = {name: theirs for name, theirs in self.names.items() if name in names}
        for part in map(_pandas, parquet_batches(self.path, {*wanted.values()})):
            yield pd.DataFrame({name: part[theirs] for name, theirs in wanted.items()})

    def renamed(self, columns: Mapping[str, str]) -> RawTable:
        found = {ours: self.names[name] for ours, name in new_names(self.names, columns).items()}
        return ParquetTable(self.path, len(self.lines), found)


def _parquet(path: Path) -> ParquetTable:
    rows, names = parquet_shape(path)
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise InputError(f"{path} has several columns named {min(doubled)!r}; rename all but one")
    return ParquetTable(path, rows, {name: name for name in names})


def _pandas(table: pa.Table) -> pd.DataFrame:
    for index, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(index, column.name, table[index].cast(column.type.value_type))
        if _is_text(table.schema.field(index).type):
            table = table.set_column(index, column.name, decoded(table[index]))
    # integer_object_nulls: beside a missing value a 17-digit id would become a float and lose its last digits.
    return table.to_pandas(integer_object_nulls=True, ignore_metadata=True)


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary))


def _json_lines(data: bytes, file: str) -> RawTable:
    records: list[dict[str, Any]] = []
    lines: list[int] = []
    unreadable: list[tuple[int, str]] = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):  # ValueError: also an integer of more than 4,300 digits
            unreadable.append((number, "not_json"))
            continue
        if not isinstance(record, dict):
            unreadable.append((number, "not_an_object"))
            continue
        records.append({storable(name): _storable(value) for name, value in record.items()})
        lines.append(number)
    return RawTable(file, object_columns(records), np.array(lines, dtype=np.int64), tuple(unreadable))


def _storable(value: Any) -> Any:
    """A JSON value as a scalar or a list of strings; an object as its JSON text."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable(part) if isinstance(part, str) else json.dumps(part) for part in value if part is not None]
    return json.dumps(value) if isinstance(value, dict) else value
