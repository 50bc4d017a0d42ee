"""What a run folder tells a report, found by file name wherever it lies: nothing here depends on how a run is laid out.

Rows of the same arm under several seeds are added up; see `report_files.arm_of` for an arm's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eval.report_files import Found, arm_of, leaves
from eval.report_plot import loss_curve
from eval.report_samples import generators, read_samples

RECORDS = ("manifest.json", "clean.json", "split.json", "filter.json", "arms.json")
LISTED = 12
DRIFTS = {  # of corpus.json, from 0 to 1: what it is, and the words for a figure from each limit on
    "popularity_drift": ("popularity drift", ((0.0, "close"), (0.1, "apart"), (0.3, "far apart"))),
    "length_drift": ("length drift", ((0.0, "close"), (0.1, "apart"), (0.3, "far apart"))),
    "auc": ("told apart", ((0.0, "hardly"), (0.6, "often"), (0.8, "nearly always"))),
}
SIDES = {"length": 1, "distinct_2": 3, "self_similarity": 3, "gini": 3}  # and their decimals


def read_run(found: Found) -> dict[str, Any]:
    finetunes = [
        {**record, "place": found.place(path.parent), "line": loss_curve(record.get("curve", ()))}
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
        "samples": read_samples(found),
        "generators": generators(found),
        "aucs": aucs,
        "finetunes": finetunes,
        "stages": _stages(found),
        "records": [
            (found.place(path), list(_flat({key: part for key, part in value.items() if key != "borderline"})))
            for name in RECORDS
            for path, value in found.json(name)
        ],
    }


def _funnels(found: Found) -> dict[str, dict[str, Any]]:
    """Per arm counts (asked, parsed, rejected, failed, judged, kept, dropped), and steps to draw, see `_drawn`."""
    arms: dict[str, dict[str, Any]] = {}

    def of(path: Path) -> dict[str, Any]:
        empty: dict[str, Any] = {"counts": Counter(), "rejected": Counter(), "dropped": Counter(), "steps": {}}
        return arms.setdefault(arm_of(path.parent), empty)

    for path, record in found.json("manifest.json"):
        counts = record.get("counts") or {}
        if "asked" in counts:
            of(path)["counts"].update({name: counts.get(name, 0) for name in ("asked", "parsed", "rejected", "failed")})
    for path, table in found.tables("rejects.parquet"):
        of(path)["rejected"].update(table["reason"].to_pylist())
    for path, record in found.json("filter.json"):
        of(path)["counts"].update(record.get("counts", {}))
        of(path)["dropped"].update(record.get("reasons", {}))
    for path, table in found.tables("scores.parquet"):
        _add_steps(of(path)["steps"], table, _reasons(found, path.parent))
    return {arm: {**one, "bars": list(_drawn(one))} for arm, one in arms.items()}


def _reasons(found: Found, folder: Path) -> dict[str, str]:
    """By dropped sample why."""
    reasons: dict[str, str] = {}
    for _, table in Found(folder, found.notes).tables("dropped.parquet"):
        if {"sample_id", "reason"} <= set(table.column_names):
            reasons |= dict(zip(table["sample_id"].to_pylist(), table["reason"].to_pylist(), strict=True))
    return reasons


def _add_steps(steps: dict[str, Counter[str]], table: pa.Table, reasons: Mapping[str, str]) -> None:
    """To each filter step, in its order, how many it dropped by which reason."""
    if "dropped_by" not in table.column_names:
        return
    for name in table.column_names:
        if name not in ("sample_id", "dropped_by") and not name.endswith("_nearest"):
            steps.setdefault(name, Counter())
    fallen = table.filter(pc.not_equal(table["dropped_by"], ""))
    for sample_id, step in zip(fallen["sample_id"].to_pylist(), fallen["dropped_by"].to_pylist(), strict=True):
        steps.setdefault(step, Counter())[reasons.get(sample_id, step)] += 1


def _drawn(one: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The bars of a funnel: label, left (how many are left after it), lost, why [(reason, count)].

    A filter step that dropped none has no bar. Without steps all that the filter dropped is one bar.
    """
    counts, left = one["counts"], one["counts"]["asked"]
    if left:
        yield {"label": "asked", "left": left, "lost": 0, "why": []}
        why = one["rejected"].most_common() + ([("failed", counts["failed"])] if counts["failed"] else [])
        yield {"label": "parsed", "left": counts["parsed"], "lost": max(0, left - counts["parsed"]), "why": why}
    if not counts["judged"]:
        return
    if counts["judged"] != counts["parsed"]:
        yield {"label": "judged", "left": counts["judged"], "lost": 0, "why": []}
    left, steps = counts["judged"], one["steps"]
    if sum(map(Counter.total, steps.values())) != counts["dropped"]:
        steps = {"filter": one["dropped"]}
    for step, why in steps.items():
        if lost := why.total():
            left -= lost
            yield {"label": step, "left": left, "lost": lost, "why": why.most_common()}
    yield {"label": "kept", "left": counts["kept"], "lost": 0, "why": []}


def _corpora(found: Found) -> list[dict[str, Any]]:
    """Per arm and kind of sample what corpus.json says, averaged over seeds.

    drifts: (what, figure, word). sides: (name, decimals, synthetic, real), None where unknown.
    """
    told: dict[tuple[str, str], list[dict[str, float]]] = {}
    for path, record in found.json("corpus.json"):
        for kind, report in record.items():
            figures = {name: value for name, value in leaves(report) if isinstance(value, (int, float))}
            told.setdefault((arm_of(path.parent), kind), []).append(figures)
    rows = []
    for (arm, kind), reports in told.items():
        names = {name for report in reports for name in report}
        means = {name: float(np.mean([one[name] for one in reports if name in one])) for name in names}
        sides = [
            (name, digits, means.get(f"synthetic.{name}"), means.get(f"real.{name}")) for name, digits in SIDES.items()
        ]
        drifts = [
            (what, means[name], [word for limit, word in words if means[name] >= limit][-1])
            for name, (what, words) in DRIFTS.items()
            if name in means
        ]
        own = {"samples": means.get("samples"), "coverage": means.get("coverage")}
        rows.append(
            {"arm": arm, "kind": kind, **own, "drifts": drifts, "sides": [s for s in sides if s[2] is not None]}
        )
    return rows


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


def totals(stages: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds, answers and tokens of all stages."""
    return {name: sum(one.get(name) or 0 for one in stages) for name in ("seconds", "answers", "tokens")}


def _flat(value: Any) -> Iterator[tuple[str, str]]:
    """A record as (dotted name, words); a long list is cut to its length and its first entries."""
    for name, inner in leaves(value):
        if isinstance(inner, list):
            words = ", ".join(map(str, inner[:LISTED]))
            yield name, f"{len(inner)}: {words}, …" if len(inner) > LISTED else words
        else:
            yield name, str(inner)
