"""What a run folder tells a report, found by file name wherever it lies: nothing here depends on how a run is laid out.

Rows of the same arm under several seeds are added up; the arm is the folder's name without 04-, samples- or kept-.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llm_aug import seeds
from llm_aug.data import ITEM_COLUMNS
from llm_aug.errors import InputError
from llm_aug.files import read_json, read_parquet
from llm_aug.tables import SAMPLE_SCHEMA, samples_from

SHOWN = 200
HISTORY = 8  # titles that say who a user is
RECORDS = ("manifest.json", "clean.json", "split.json", "filter.json", "arms.json")
LISTED = 12
POINTS = 240  # of a loss curve: as many as its width in pixels could show


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
                self.notes.append(f"{error}.")
                continue
            if isinstance(value, kind):
                yield path, value

    def tables(self, name: str) -> Iterator[tuple[Path, pa.Table]]:
        for path in sorted(self.root.rglob(name)):
            try:
                yield path, read_parquet(path)
            except InputError as error:
                self.notes.append(f"{error}.")

    def place(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def read_run(found: Found) -> dict[str, Any]:
    finetunes = [
        {**record, "place": found.place(path.parent), "line": _curve(record.get("curve", ()))}
        for path, record in found.json("finetune.json")
    ]
    aucs = [
        {"place": found.place(path.parent), **record["auc_in_pseudo_cold_lists"]}
        for path, record in found.json("metrics.json")
        if "auc_in_pseudo_cold_lists" in record
    ]
    return {
        "funnels": _funnels(found),
        "corpora": _corpora(found),
        "samples": _samples(found),
        "aucs": aucs,
        "finetunes": finetunes,
        "stages": _stages(found),
        "records": [
            (found.place(path), list(_flat({key: part for key, part in value.items() if key != "borderline"})))
            for name in RECORDS
            for path, value in found.json(name)
        ],
    }


def _arm(folder: Path) -> str:
    return re.sub(r"^(\d+[-_])?((samples|kept)[-_])?", "", folder.name) or folder.name


def _funnels(found: Found) -> dict[str, dict[str, Any]]:
    """Per arm: counts (asked, parsed, rejected, failed, judged, kept, dropped), and why how many fell at each step."""
    arms: dict[str, dict[str, Any]] = {}

    def of(path: Path) -> dict[str, Any]:
        empty: dict[str, Counter[str]] = {"counts": Counter(), "rejected": Counter(), "dropped": Counter()}
        return arms.setdefault(_arm(path.parent), empty)

    for path, record in found.json("manifest.json"):
        counts = record.get("counts") or {}
        if "asked" in counts:
            of(path)["counts"].update({name: counts.get(name, 0) for name in ("asked", "parsed", "rejected", "failed")})
    for path, table in found.tables("rejects.parquet"):
        of(path)["rejected"].update(table["reason"].to_pylist())
    for path, record in found.json("filter.json"):
        of(path)["counts"].update(record.get("counts", {}))
        of(path)["dropped"].update(record.get("reasons", {}))
    return arms


def _corpora(found: Found) -> list[dict[str, Any]]:
    """Per arm and kind of sample the numbers of `corpus.json` by dotted name, averaged over seeds."""
    told: dict[tuple[str, str], list[dict[str, float]]] = {}
    for path, record in found.json("corpus.json"):
        for kind, report in record.items():
            figures = {name: value for name, value in _leaves(report) if isinstance(value, (int, float))}
            told.setdefault((_arm(path.parent), kind), []).append(figures)
    rows = []
    for (arm, kind), reports in told.items():
        names = {name for report in reports for name in report}
        means = {name: float(np.mean([one[name] for one in reports if name in one])) for name in names}
        rows.append({"arm": arm, "kind": kind, **means})
    return rows


def _samples(found: Found) -> list[dict[str, Any]]:
    """At most SHOWN, one from each file in turn; only such as a model made, where there are any."""
    filtered = {_arm(path.parent) for path in found.root.rglob("kept.parquet")}
    drawn = []
    for name, state in (("kept.parquet", "kept"), ("dropped.parquet", "dropped"), ("samples.parquet", "not filtered")):
        for path, table in found.tables(name):
            ours = set(SAMPLE_SCHEMA.names) <= set(table.column_names)
            if ours and (state != "not filtered" or _arm(path.parent) not in filtered):
                drawn.append(_draw(found, path, table, state))
    some = [row for row in chain.from_iterable(zip_longest(*drawn)) if row]
    shown = ([row for row in some if row["sample"].origin.model] or some)[:SHOWN]
    _add_pairs(found, shown)
    named = {row["sample"].subject for row in shown}
    facts = _facts(found, named.union(*(items for row in shown for _, *items in row["pairs"])))
    for row in shown:
        row["facts"] = facts.get(row["sample"].subject, {})
        row["pairs"] = [
            (user, *(facts.get(item, {}).get("title") or item for item in items)) for user, *items in row["pairs"]
        ]
    return sorted(shown, key=lambda row: (row["arm"], row["sample"].subject, row["sample"].sample_id))


def _add_pairs(found: Found, shown: Sequence[dict[str, Any]]) -> None:
    """To each sample its pairs: user, item, and the last items of that user in the training rows of the same split."""
    for row in shown:
        row["pairs"] = [(pair.user_id, pair.item_id) for pair in row["sample"].interactions or ()]
    for path, table in found.tables("train.parquet"):
        mine = [row for row in shown if path.parent.parent in row["folder"].parents]
        users = pa.array(sorted({user for row in mine for user, *_ in row["pairs"]}), pa.string())
        rows = _where(table, "user_id", users).group_by("user_id").aggregate([("item_id", "list")])
        items = dict(zip(rows["user_id"].to_pylist(), rows["item_id_list"].to_pylist(), strict=True))
        for row in mine:
            row["pairs"] = [(user, item, *items.get(user, ())[-HISTORY:]) for user, item, *_ in row["pairs"]]


def _draw(found: Found, path: Path, table: pa.Table, state: str) -> list[dict[str, Any]]:
    """SHOWN rows of one file at random, each with what the filter said of it."""
    drawn = seeds.generator(0, "report", found.place(path.parent), path.name).permutation(table.num_rows)[:SHOWN]
    table = table.take(pa.array(drawn))
    scores = _scores(found, path.parent, table["sample_id"])
    samples = samples_from(table.select(SAMPLE_SCHEMA.names).cast(SAMPLE_SCHEMA))
    common = {"state": state, "reason": "", "nearest": "", "arm": _arm(path.parent), "folder": path.parent}
    verdicts = [{name: row.get(name) or "" for name in ("reason", "nearest")} for row in table.to_pylist()]
    return [
        {**common, **verdict, "sample": sample, "scores": scores.get(sample.sample_id, {})}
        for sample, verdict in zip(samples, verdicts, strict=True)
    ]


def _scores(found: Found, folder: Path, sample_ids: pa.ChunkedArray) -> dict[str, dict[str, float]]:
    """By sample the score of each filter step that gave one."""
    scores: dict[str, dict[str, float]] = {}
    for _, table in Found(folder, found.notes).tables("scores.parquet"):
        for row in _where(table, "sample_id", sample_ids).to_pylist():
            scores[row["sample_id"]] = {step: score for step, score in row.items() if isinstance(score, float)}
    return scores


def _where(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """Rows whose id is one of values; files of others may hold ids as numbers."""
    return table.filter(pc.is_in(table[name].cast(pa.string()), values.cast(pa.string())))


def _facts(found: Found, item_ids: set[str]) -> dict[str, dict[str, str]]:
    """By item the columns of its catalogue row that hold something."""
    facts: dict[str, dict[str, str]] = {}
    for _, table in found.tables("items.parquet"):
        if set(ITEM_COLUMNS) <= set(table.column_names):
            for row in _where(table, "item_id", pa.array(sorted(item_ids), pa.string())).to_pylist():
                facts[str(row["item_id"])] = {name: str(value) for name, value in row.items() if value}
    return facts


def _curve(curve: Sequence[Sequence[float]]) -> dict[str, Any] | None:
    """The loss by step, averaged over windows: SVG points in a box of 100 x 100, and the ends of both axes."""
    given = np.array(curve, dtype=float).reshape(-1, 2)
    finite = given[np.isfinite(given).all(axis=1)]
    if len(finite) < 2:
        return None
    windows = np.array([part.mean(axis=0) for part in np.array_split(finite, min(POINTS, len(finite)))])
    low, high = windows.min(axis=0), windows.max(axis=0)
    places = 100 * (windows - low) / np.where(high > low, high - low, 1)
    points = " ".join(f"{x:.2f},{100 - y:.2f}" for x, y in places)
    return {"points": points, "steps": int(finite[-1, 0]), "low": low[1], "high": high[1], "last": windows[-1, 1]}


def _stages(found: Found) -> list[dict[str, Any]]:
    """Per folder what its stage says it did and how long it took, how many answers a model gave and their tokens."""
    stages: dict[str, dict[str, Any]] = {}
    for path, mark in found.json("stage.json"):
        stages[found.place(path.parent)] = {"line": mark.get("line", ""), "seconds": mark.get("seconds")}
    for path, table in found.tables("answers/*.parquet"):
        counts = stages.setdefault(found.place(path.parent.parent), {})
        counts["answers"] = counts.get("answers", 0) + table.num_rows
        tokens = pc.sum(table["n_tokens"]).as_py() if "n_tokens" in table.column_names else None
        counts["tokens"] = counts.get("tokens", 0) + (tokens or 0)
    return [{"place": place, **stages[place]} for place in sorted(stages)]


def _flat(value: Any) -> Iterator[tuple[str, str]]:
    """A record as (dotted name, words); a long list is cut to its length and its first entries."""
    for name, inner in _leaves(value):
        if isinstance(inner, list):
            words = ", ".join(map(str, inner[:LISTED]))
            yield name, f"{len(inner)}: {words}, …" if len(inner) > LISTED else words
        else:
            yield name, str(inner)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
