"""Delimited text (csv, tsv, MovieLens .dat) as a RawTable of strings; a broken line ends nothing."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from llm_aug.errors import InputError
from llm_aug.sources.raw import RawTable, decoded

BLOCK_BYTES = 1 << 26  # a row must fit into one block: descriptions of 10 MB do


def parse(data: bytes, file: str, delimiter: str, header: Sequence[str] | None = None, quoted: bool = True) -> RawTable:
    """Every value a string, missing values empty. header: the columns of a file that does not name them itself.

    A line with the wrong number of fields is in `unreadable`; a blank line is no row at all.
    """
    names = list(header) if header is not None else _first_row(data, file, delimiter)
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise InputError(f"{file} has several columns named {min(doubled)!r}; rename all but one")
    first_line = 1 if header is not None else 2
    options = arrow_csv.ParseOptions(
        delimiter=delimiter,
        quote_char='"' if quoted else False,
        newlines_in_values=quoted,
        ignore_empty_lines=False,
    )
    table, bad = _read(data, file, names, first_line, options)
    columns = {name: decoded(column) for name, column in zip(names, table.columns, strict=True)}
    frame = pd.DataFrame({name: column.to_pandas() for name, column in columns.items()})
    total = len(frame) + len(bad)
    lines = np.delete(np.arange(first_line, first_line + total), np.array(bad, dtype=int) - first_line)
    blank = np.asarray((frame == "").all(axis=1), dtype=bool)
    unreadable = tuple((line, "wrong_field_count") for line in bad)
    return RawTable(file, frame[~blank].reset_index(drop=True), lines[~blank], unreadable)


def _first_row(data: bytes, file: str, delimiter: str) -> list[str]:
    line = data.partition(b"\n")[0].decode("utf-8-sig", "replace").rstrip("\r")
    names = next(csv.reader([line], delimiter=delimiter), [])
    if not any(name.strip() for name in names):
        raise InputError(f"{file} is empty or has no header line; its first line names the columns")
    return [name.strip() for name in names]


def _read(
    data: bytes, file: str, names: list[str], first_line: int, options: arrow_csv.ParseOptions
) -> tuple[pa.Table, list[int]]:
    """The rows as bytes, and the numbers of the rows with a wrong number of fields."""
    bad: list[int] = []

    def on_invalid_row(row: arrow_csv.InvalidRow) -> str:
        bad.append(row.number)
        return "skip"

    header_end = data.find(b"\n") + 1 or len(data)
    if not data[(header_end if first_line > 1 else 0) :].strip():
        return pa.table({name: pa.array([], pa.binary()) for name in names}), bad
    options.invalid_row_handler = on_invalid_row
    # use_threads=False: only then does an invalid row know its number.
    reading = arrow_csv.ReadOptions(
        use_threads=False, column_names=names, skip_rows=first_line - 1, block_size=BLOCK_BYTES
    )
    types = arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False)
    try:
        return arrow_csv.read_csv(pa.BufferReader(data), reading, options, types), bad
    except pa.ArrowInvalid as error:
        raise InputError(f"{file} is not readable as delimited text: {error}") from error
