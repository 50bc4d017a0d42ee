"""What a run ends in: samples.parquet and rejects.parquet, by row groups, since there may be millions of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from llm_aug.data import Reject, Sample
from llm_aug.files import GROUP_ROWS, write_tables
from llm_aug.tables import REJECT_SCHEMA, SAMPLE_SCHEMA, rejects_table, samples_table

T = TypeVar("T")


def write_results(output: Path, samples: Iterable[Sample], rejects: Iterable[Reject]) -> tuple[int, int]:
    """Returns how many of each there were; equal rows in equal order give equal bytes."""
    parsed = write_tables(output / "samples.parquet", SAMPLE_SCHEMA, grouped(samples, samples_table))
    rejected = write_tables(output / "rejects.parquet", REJECT_SCHEMA, grouped(rejects, rejects_table))
    return parsed, rejected


def grouped(rows: Iterable[T], table: Callable[[Iterable[T]], pa.Table]) -> Iterator[pa.Table]:
    """Tables of GROUP_ROWS rows each."""
    stream = iter(rows)
    while group := list(islice(stream, GROUP_ROWS)):
        yield table(group)
