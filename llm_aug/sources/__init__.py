"""Readers of other people's formats: one file per format, and the one table that names them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType

from llm_aug.errors import InputError, did_you_mean
from llm_aug.sources.raw import RawDataset, rename

# Asked in this order. Beside the reader each module has `fits(source) -> bool`.
SOURCES = {
    "table": "llm_aug.sources.table:read",
    "movielens": "llm_aug.sources.movielens:read",
}
SHAPE = "a source is a folder with items.* and interactions.*, or a MovieLens folder or zip"


def detect(source: Path) -> str:
    """The name of the first format that the source fits; raises InputError where there is none."""
    if not source.exists():
        raise InputError(f"{source} is not there; {SHAPE}")
    for name in SOURCES:
        if _module(name).fits(source):
            return name
    raise InputError(f"{source} is of no known format; {SHAPE}")


def read(source: Path, columns: Mapping[str, str] | None = None, format_name: str | None = None) -> RawDataset:
    """Rows as they stand in the files. columns: our name -> theirs, {"item_id": "asin"}."""
    if format_name is not None and format_name not in SOURCES:
        raise InputError(f"no source format {format_name!r}; {did_you_mean(format_name, SOURCES)}")
    if not source.exists():
        raise InputError(f"{source} is not there; {SHAPE}")
    name = format_name or detect(source)
    raw: RawDataset = getattr(_module(name), SOURCES[name].partition(":")[2])(source)
    return rename(raw, columns or {})


def _module(name: str) -> ModuleType:
    return import_module(SOURCES[name].partition(":")[0])
