"""The files of a folder that a report reads, found by file name wherever they lie."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from llm_aug.errors import InputError
from llm_aug.files import read_json, read_parquet


@dataclass(frozen=True)
class Found:
    """Files under root in the order of their paths. notes: grows by a line for each that cannot be read."""

    root: Path
    notes: list[str]

    def json(self, name: str, kind: type = dict) -> Iterator[tuple[Path, Any]]:
        """Those that hold a `kind`; others of that name are not meant."""
        for path in sorted(self.root.rglob(name)):
            try:
                value = read_json(path)
            except InputError as error:
                self._note(error)
                continue
            if isinstance(value, kind):
                yield path, value

    def tables(self, name: str) -> Iterator[tuple[Path, pa.Table]]:
        for path in sorted(self.root.rglob(name)):
            try:
                yield path, read_parquet(path)
            except InputError as error:
                self._note(error)

    def rows(self, name: str) -> list[Any]:
        """The rows of all JSON lists of that name."""
        return [row for _, rows in self.json(name, list) for row in rows]

    def place(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _note(self, error: InputError) -> None:
        if (note := f"{error}.") not in self.notes:  # some files are read for more than one section
            self.notes.append(note)


def arm_of(folder: Path) -> str:
    """The folder's name without 04-, samples- or kept-."""
    return re.sub(r"^(\d+[-_])?((samples|kept)[-_])?", "", folder.name) or folder.name


def where(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """Rows whose id is one of values; files of others may hold ids as numbers."""
    return table.filter(pc.is_in(table[name].cast(pa.string()), values.cast(pa.string())))


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of a nested record."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
