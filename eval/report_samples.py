"""Samples for people to read: each beside what is real, with the filter's scores and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa

from eval.report_files import Found, arm_of, where
from llm_aug import seeds
from llm_aug.data import ITEM_COLUMNS
from llm_aug.tables import SAMPLE_SCHEMA, samples_from

SHOWN = 200
HISTORY = 8  # titles that say who a user is
STATES = (("kept.parquet", "kept"), ("dropped.parquet", "dropped"), ("samples.parquet", "not filtered"))


def read_samples(found: Found) -> list[dict[str, Any]]:
    """At most SHOWN, one from each file in turn; only such as a model made, where there are any."""
    filtered = {arm_of(path.parent) for path in found.root.rglob("kept.parquet")}
    drawn = []
    for name, state in STATES:
        for path, table in found.tables(name):
            ours = set(SAMPLE_SCHEMA.names) <= set(table.column_names)
            if ours and (state != "not filtered" or arm_of(path.parent) not in filtered):
                drawn.append(_draw(found, path, table, state))
    some = [row for row in chain.from_iterable(zip_longest(*drawn)) if row]
    shown = ([row for row in some if row["sample"].origin.model] or some)[:SHOWN]
    _add_pairs(found, shown)
    named = {row["sample"].subject for row in shown} | {row["nearest"] for row in shown}
    facts = _facts(found, named.union(*(items for row in shown for _, *items in row["pairs"])))
    for row in shown:
        row["facts"] = facts.get(row["sample"].subject, {})
        row["nearest"] = _titled(row["nearest"], facts)
        row["pairs"] = [
            (user, *(facts.get(item, {}).get("title") or item for item in items)) for user, *items in row["pairs"]
        ]
    return sorted(shown, key=lambda row: (row["arm"], row["sample"].subject, row["sample"].sample_id))


def generators(found: Found) -> dict[str, set[str]]:
    """By arm the generators that its samples name as their origin."""
    made: dict[str, set[str]] = {}
    for path, table in found.tables("kept.parquet"):
        if set(SAMPLE_SCHEMA.names) <= set(table.column_names):
            origins = table.select(["sample_id", "origin"]).group_by("origin").aggregate([("sample_id", "min")])
            chosen = where(table.select(SAMPLE_SCHEMA.names), "sample_id", origins["sample_id_min"].combine_chunks())
            names = {sample.origin.generator for sample in samples_from(chosen.cast(SAMPLE_SCHEMA))}
            made.setdefault(arm_of(path.parent), set()).update(names)
    return made


def _titled(item_id: str, facts: dict[str, dict[str, str]]) -> str:
    title = facts.get(item_id, {}).get("title", "")
    return f"{item_id} ({title})" if title else item_id


def _add_pairs(found: Found, shown: Sequence[dict[str, Any]]) -> None:
    """To each sample its pairs: user, item, and the last items of that user in the training rows of the same split."""
    for row in shown:
        row["pairs"] = [(pair.user_id, pair.item_id) for pair in row["sample"].interactions or ()]
    for path, table in found.tables("train.parquet"):
        mine = [row for row in shown if path.parent.parent in row["folder"].parents]
        users = pa.array(sorted({user for row in mine for user, *_ in row["pairs"]}), pa.string())
        rows = where(table, "user_id", users).group_by("user_id").aggregate([("item_id", "list")])
        items = dict(zip(rows["user_id"].to_pylist(), rows["item_id_list"].to_pylist(), strict=True))
        for row in mine:
            row["pairs"] = [(user, item, *items.get(user, ())[-HISTORY:]) for user, item, *_ in row["pairs"]]


def _draw(found: Found, path: Path, table: pa.Table, state: str) -> list[dict[str, Any]]:
    """SHOWN rows of one file at random, each with what the filter said of it."""
    drawn = seeds.generator(0, "report", found.place(path.parent), path.name).permutation(table.num_rows)[:SHOWN]
    table = table.take(pa.array(drawn))
    scores = _scores(found, path.parent, table["sample_id"])
    samples = samples_from(table.select(SAMPLE_SCHEMA.names).cast(SAMPLE_SCHEMA))
    common = {"state": state, "reason": "", "nearest": "", "arm": arm_of(path.parent), "folder": path.parent}
    verdicts = [{name: row.get(name) or "" for name in ("reason", "nearest")} for row in table.to_pylist()]
    return [
        {**common, **verdict, "sample": sample, "scores": scores.get(sample.sample_id, {})}
        for sample, verdict in zip(samples, verdicts, strict=True)
    ]


def _scores(found: Found, folder: Path, sample_ids: pa.ChunkedArray) -> dict[str, dict[str, float]]:
    """By sample the score of each filter step that gave one."""
    scores: dict[str, dict[str, float]] = {}
    for _, table in Found(folder, found.notes).tables("scores.parquet"):
        for row in where(table, "sample_id", sample_ids).to_pylist():
            scores[row["sample_id"]] = {step: score for step, score in row.items() if isinstance(score, float)}
    return scores


def _facts(found: Found, item_ids: set[str]) -> dict[str, dict[str, str]]:
    """By item the columns of its catalogue row that hold something."""
    facts: dict[str, dict[str, str]] = {}
    for _, table in found.tables("items.parquet"):
        if set(ITEM_COLUMNS) <= set(table.column_names):
            for row in where(table, "item_id", pa.array(sorted(item_ids), pa.string())).to_pylist():
                facts[str(row["item_id"])] = {name: str(value) for name, value in row.items() if value}
    return facts
