"""Samples from a parquet file, ours or foreign: `subject, text` or `user_id, item_id`, all the rest optional.

A foreign pair is one sample: {"sample_id": "foreign/0", "kind": "interactions", "subject": ITEM_ID, "weight": 1.0}.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from llm_aug.chosen import Rows
from llm_aug.clean_values import broken, identifiers, numbers, seconds
from llm_aug.data import KINDS, Origin, Pair, Sample
from llm_aug.errors import InputError, did_you_mean
from llm_aug.files import parquet_batches
from llm_aug.sources.table import read_table
from llm_aug.spool import Spool
from llm_aug.stage import checked
from llm_aug.tables import SAMPLE_SCHEMA, samples_from

FILES = ("kept.parquet", "samples.parquet")  # what a folder of ours holds, the filtered one first


def _is_origin(origin: Origin) -> bool:
    texts = [value for name, value in vars(origin).items() if name not in ("parents", "seed")]
    return type(origin.seed) is int and all(isinstance(value, str) for value in (*texts, *origin.parents))


def _has_odd_weight(sample: Sample) -> bool:
    return sample.weight is None or not 0 <= sample.weight < np.inf


def _has_odd_pair(sample: Sample) -> bool:
    return not all(pair.user_id and pair.item_id for pair in sample.interactions or ())


FAULTS: dict[str, Callable[[Sample], bool]] = {
    "no sample_id": lambda sample: not sample.sample_id,
    "no subject": lambda sample: not sample.subject,
    "an impossible weight": _has_odd_weight,
    "a pair without user or item": _has_odd_pair,
    "an origin that is not ours": lambda sample: not _is_origin(sample.origin),
}


def read_samples(source: Path) -> list[Sample]:
    """A parquet file, or a folder with one of FILES.

    Raises InputError on a missing column, on the first bad row, and where a stage of ours wrote another file.
    """
    return list(_read(source))


def store_samples(source: Path, folder: Path) -> Sequence[Sample]:
    """As `read_samples`, on the disk of the folder; foreign ones are in memory once while they are read."""
    spool = Spool(folder)
    for sample in _read(source):
        spool.append(_row(sample))
    return Rows(lambda number: _sample(spool[number]), range(len(spool)))


def _row(sample: Sample) -> list[Any]:
    """Its fields as JSON has them; `_sample` takes them back."""
    pairs = sample.interactions
    told = None if pairs is None else [[*vars(pair).values()] for pair in pairs]
    return [*{**vars(sample), "interactions": told, "origin": [*vars(sample.origin).values()]}.values()]


def _sample(row: list[Any]) -> Sample:
    sample_id, kind, subject, text, told, weight, (generator, parents, *origin) = row
    pairs = None if told is None else tuple(Pair(*pair) for pair in told)
    source = Origin(generator, tuple(parents), *origin)
    return Sample(sample_id, kind, subject, text, pairs, weight, source)


def _read(source: Path) -> Iterable[Sample]:
    path = _file(source)
    checked(path)
    tables = parquet_batches(path)
    first = next(tables)
    if set(SAMPLE_SCHEMA.names) <= set(first.column_names):
        return _ours(path, chain([first], tables))
    frame = read_table(path).frame
    if {"subject", "text"} <= set(frame.columns):
        return _texts(path, frame)
    if {"user_id", "item_id"} <= set(frame.columns):
        return _pairs(path, frame)
    raise InputError(
        f"{path} holds no samples: it needs the columns 'subject' and 'text', or 'user_id' and 'item_id' "
        f"(columns: {', '.join(map(str, frame.columns))})"
    )


def _file(source: Path) -> Path:
    if not source.is_dir():
        return source
    for name in FILES:
        if (source / name).is_file():
            return source / name
    raise InputError(f"{source} holds no samples: it has none of {', '.join(FILES)}")


def _ours(path: Path, tables: Iterable[pa.Table]) -> Iterator[Sample]:
    """The checks are of the whole file, hence at its end."""
    kinds: set[str] = set()
    faults: dict[str, list[NDArray[np.bool_]]] = {what: [] for what in FAULTS}
    ids: list[str] = []
    for table in tables:
        samples = _samples_of(path, table)
        kinds.update(str(sample.kind) for sample in samples)
        for what, has in FAULTS.items():
            faults[what].append(np.fromiter((has(sample) for sample in samples), np.bool_, len(samples)))
        ids += [sample.sample_id for sample in samples]
        yield from samples
    _check_kinds(path, kinds)
    for what, found in faults.items():
        _refuse(path, np.concatenate(found), what)
    _refuse(path, pd.Series(ids, dtype=object).duplicated().to_numpy(), "a sample_id that stands there before")


def _samples_of(path: Path, table: pa.Table) -> list[Sample]:
    try:
        return samples_from(table.select(SAMPLE_SCHEMA.names).cast(SAMPLE_SCHEMA))
    except (pa.ArrowException, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path} has the columns of our samples, but not their content: {error}") from error


def _texts(path: Path, frame: pd.DataFrame) -> list[Sample]:
    subjects = _ids(path, frame, "subject")
    kinds = [str(kind) for kind in frame["kind"]] if "kind" in frame else ["description"] * len(frame)
    _check_kinds(path, kinds)
    values = frame["text"].tolist()
    _refuse(
        path, np.array([isinstance(value, list | dict | np.ndarray) for value in values], np.bool_), "no plain text"
    )
    texts = ["" if pd.isna(value) else str(value) for value in values]
    columns = (_sample_ids(path, frame), kinds, subjects, texts, _weights(path, frame))
    return [
        Sample(sample_id, kind, subject, text=text, weight=weight)  # type: ignore[arg-type]
        for sample_id, kind, subject, text, weight in zip(*columns, strict=True)
    ]


def _pairs(path: Path, frame: pd.DataFrame) -> list[Sample]:
    users, items = (_ids(path, frame, name) for name in ("user_id", "item_id"))
    ratings, times = _optional(path, frame, "rating"), _times(path, frame)
    columns = (_sample_ids(path, frame), users, items, times, ratings, _weights(path, frame))
    return [
        Sample(sample_id, "interactions", item, interactions=(Pair(user, item, time, rating),), weight=weight)
        for sample_id, user, item, time, rating, weight in zip(*columns, strict=True)
    ]


def _ids(path: Path, frame: pd.DataFrame, name: str) -> NDArray[np.object_]:
    ids = identifiers(frame[name])
    _refuse(path, (ids == "") | broken(pd.Series(ids, dtype=object)), f"no usable {name}")
    return ids


def _sample_ids(path: Path, frame: pd.DataFrame) -> list[str]:
    if "sample_id" not in frame:
        return [f"foreign/{number}" for number in range(len(frame))]
    ids = _ids(path, frame, "sample_id")
    _refuse(path, pd.Series(ids, dtype=object).duplicated().to_numpy(), "a sample_id that stands there before")
    return list(ids)


def _weights(path: Path, frame: pd.DataFrame) -> list[float]:
    return [1.0 if weight is None else weight for weight in _optional(path, frame, "weight")]


def _optional(path: Path, frame: pd.DataFrame, name: str) -> list[float | None]:
    if name not in frame:
        return [None] * len(frame)
    values, impossible = numbers(frame[name])
    _refuse(path, impossible, f"an impossible {name}")
    return [None if np.isnan(value) else float(value) for value in values]


def _times(path: Path, frame: pd.DataFrame) -> list[int | None]:
    if "timestamp" not in frame:
        return [None] * len(frame)
    values, impossible = seconds(frame["timestamp"], Counter())
    _refuse(path, impossible, "an impossible timestamp")
    return [None if pd.isna(value) else int(value) for value in values]


def _check_kinds(path: Path, kinds: Iterable[Any]) -> None:
    unknown = sorted({str(kind) for kind in kinds} - set(KINDS))
    if unknown:
        raise InputError(f"{path}: there is no kind of sample {unknown[0]!r}; {did_you_mean(unknown[0], KINDS)}")


def _refuse(path: Path, rows: NDArray[np.bool_], what: str) -> None:
    if rows.any():
        first = int(np.flatnonzero(rows)[0]) + 1
        raise InputError(f"{path}: {int(rows.sum())} rows have {what}, the first in row {first}; mend or remove them")
