"""Files that are either whole or absent: written under a temporary name, fsynced, renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from glob import escape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm_aug.errors import InputError, Resumable

RESUMABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the disk refuses becomes an error that says how to mend it: InputError for the place, else Resumable."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"cannot write {path}: {error.strerror}; name another place") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"cannot write {path}: {error.strerror}; name another place") from error
        if error.errno in RESUMABLE:
            raise Resumable(f"cannot write {path}: {error.strerror}; free or unlock it and run again") from error
        raise


def temporary_for(path: Path) -> Path:
    """A hidden name beside it, which no reader takes for a result and `sweep` finds after a kill."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place to write to, which becomes the path when all is written."""
    temporary = temporary_for(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            flush(temporary)
            temporary.replace(path)
    finally:
        with suppress(OSError):  # a read-only folder refuses even this, which must not hide the cause
            temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Onto the disk, so that no loss of power leaves a name without its content."""
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def is_empty(folder: Path) -> bool:
    """Whether nothing is in it but a lock and what killed writers left under a temporary name."""
    return all(path.name == ".lock" or path.match(".*.tmp") for path in folder.iterdir())


def sweep(folder: Path, name: str = "") -> None:
    """Removes what killed writers left under a temporary name, of `name` alone where given; the caller has the lock."""
    pattern = f".{escape(name)}.*.tmp" if name else ".*.tmp"
    for path in list(folder.glob(pattern) if name else folder.rglob(pattern)):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Sorted keys and no NaN, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_parquet(path: Path, table: pa.Table) -> None:
    with replacing(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True, compression="zstd")
        if pq.read_metadata(temporary).num_rows != table.num_rows:
            raise Resumable(f"cannot write {path}: the disk kept less than its {table.num_rows} rows; run again")


GROUP_ROWS, GROUP_BYTES = 1 << 13, 1 << 24


def write_tables(path: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> int:
    """Table by table as row groups, so that they are never in memory at once. Returns the number of rows."""
    rows = 0
    with replacing(path) as temporary:
        with pq.ParquetWriter(temporary, schema, write_page_checksum=True, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table)
                rows += table.num_rows
        if pq.read_metadata(temporary).num_rows != rows:
            raise Resumable(f"cannot write {path}: the disk kept less than its {rows} rows; run again")
    return rows


def together(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables that make good row groups: GROUP_ROWS of them, or GROUP_BYTES, or what is left."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= GROUP_ROWS or sum(one.nbytes for one in held) >= GROUP_BYTES:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is not there") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: also a number of more than 4,300 digits
        raise InputError(f"{path} is not readable JSON: {error}") from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise InputError(f"{path} is not there")
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a readable parquet file: {error}") from error


def read_parquet(path: Path) -> pa.Table:
    with _reading(path):
        return pq.read_table(path, page_checksum_verification=True)


def parquet_shape(path: Path) -> tuple[int, list[str]]:
    """How many rows there are, and the names of the columns."""
    with _reading(path), pq.ParquetFile(path) as file:
        return file.metadata.num_rows, file.schema_arrow.names


BATCH_ROWS = 1024


def parquet_batches(path: Path, columns: Collection[str] | None = None) -> Iterator[pa.Table]:
    """At least one table, with these columns where there are such; as many rows at a time as fit into any memory."""
    with _reading(path), pq.ParquetFile(path, page_checksum_verification=True, buffer_size=1 << 20) as file:
        known = file.schema_arrow
        chosen = None if columns is None else [name for name in known.names if name in columns]
        yield (known if chosen is None else pa.schema([known.field(name) for name in chosen])).empty_table()
        for batch in file.iter_batches(BATCH_ROWS, columns=chosen):
            yield pa.Table.from_batches([batch])


def sha256_file(path: Path) -> str:
    """Read once in a process, however many stages ask: again only when the file's size, times or inode change."""
    at = path.stat()
    return _sha256(path, at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)


@lru_cache(maxsize=4096)
def _sha256(path: Path, *identity: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """A short hash of anything JSON can hold; equal values give equal fingerprints on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
