"""Samples, rejects and verdicts as tables: explicit schemas, so that a column of nothing reads like any other."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa

from llm_aug.data import Origin, Pair, Reject, Sample, Verdict

_PAIR = pa.struct(
    [("user_id", pa.string()), ("item_id", pa.string()), ("timestamp", pa.int64()), ("rating", pa.float64())]
)
SAMPLE_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("kind", pa.string()),
        ("subject", pa.string()),
        ("text", pa.string()),
        ("interactions", pa.list_(_PAIR)),
        ("weight", pa.float64()),
        ("origin", pa.string()),
    ]
)
REJECT_SCHEMA = pa.schema(
    [("subject", pa.string()), ("stage", pa.string()), ("reason", pa.string()), ("answer", pa.string())]
)
VERDICT_FIELDS = [("reason", pa.string()), ("score", pa.float64()), ("nearest", pa.string())]


def samples_table(samples: Iterable[Sample]) -> pa.Table:
    rows = [
        {
            **{name: getattr(sample, name) for name in ("sample_id", "kind", "subject", "text", "weight")},
            "interactions": None if sample.interactions is None else [vars(pair) for pair in sample.interactions],
            "origin": json.dumps(vars(sample.origin), sort_keys=True),
        }
        for sample in samples
    ]
    return pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)


def dropped_table(dropped: Iterable[tuple[Sample, Verdict]]) -> pa.Table:
    pairs = list(dropped)
    table = samples_table(sample for sample, _ in pairs)
    for name, kind in VERDICT_FIELDS:
        table = table.append_column(name, pa.array([getattr(verdict, name) for _, verdict in pairs], kind))
    return table


def samples_from(table: pa.Table) -> list[Sample]:
    """Samples of a table in our schema; foreign tables go through `sources.samples` first."""
    samples = []
    for row in table.select(SAMPLE_SCHEMA.names).to_pylist():
        pairs, origin = row["interactions"], json.loads(row["origin"])
        row["interactions"] = None if pairs is None else tuple(Pair(**pair) for pair in pairs)
        row["origin"] = replace(Origin(**origin), parents=tuple(origin.get("parents", ())))
        samples.append(Sample(**row))
    return samples


def rejects_table(rejects: Iterable[Reject]) -> pa.Table:
    return pa.Table.from_pylist([vars(reject) for reject in rejects], schema=REJECT_SCHEMA)
