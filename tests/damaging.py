"""The ways in which a file can be damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from llm_aug.files import read_json, write_json

FLIPS = 4


DAMAGES = (*(f"bit {n}" for n in range(FLIPS)), "footer", "torn", "short of a byte", "empty", "foreign", "gone")


def damage(path: Path, kind: str) -> bytes:
    """Returns what was there. A foreign file is a whole one of the same format."""
    data = path.read_bytes()
    random = np.random.default_rng(len(path.name) + len(data))
    kinds = {"torn": data[: len(data) // 2], "short of a byte": data[:-1], "empty": b""}
    if kind == "gone":
        path.unlink()
    elif kind in kinds:
        path.write_bytes(kinds[kind])
    elif kind == "foreign":
        foreign(path)
    else:
        flipped = bytearray(data)
        # A parquet file ends in its footer, the footer's length and four bytes; page checksums do not cover it.
        place = (
            len(data) - 1 - 9 * len(data) // 100
            if kind == "footer"
            else random.integers(len(data), size=FLIPS)[int(kind.removeprefix("bit "))]
        )
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(bytes(flipped))
    return data


def foreign(path: Path) -> None:
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        pq.write_table(table.slice(0, max(0, table.num_rows - 1)) if table.num_rows else pa.table({"a": [1]}), path)
    elif path.suffix == ".json":
        value = read_json(path)
        write_json(path, {**value, "seed": 7, "line": "8 rows"} if isinstance(value, dict) else value[1:])
    elif path.suffix == ".npz":
        np.savez(path, a=np.zeros(3))
    else:
        path.write_bytes(b"other words")
