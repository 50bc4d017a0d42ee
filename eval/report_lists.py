"""What the recommended lists are like, for a report: catalogue figures, and recall of items by their popularity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from eval.catalogue import BINS
from eval.compare import K

FIGURES = ("coverage", "gini", "novelty", "diversity")
Students = dict[str, list[dict[str, Any]]]


def catalogue(rows: Sequence[dict[str, Any]]) -> Students:
    """Rows of metrics.json -> per student a row {arm, coverage, gini, novelty, diversity} of all lists to K."""
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        if (row["group"], row["k"]) == ("overall", K) and row["metric"] in FIGURES:
            cells.setdefault(row["student"], {}).setdefault(row["arm"], {})[row["metric"]] = row["mean"]
    return {student: [{"arm": arm, **found} for arm, found in arms.items()] for student, arms in cells.items()}


def by_bin(rows: Sequence[dict[str, Any]]) -> Students:
    """Rows of popularity.json -> per student a row {arm, bins: {bin: recall}}, hits over relevant of all splits."""
    frame = pd.DataFrame(rows, columns=["student", "arm", "group", "bin", "hits", "relevant"])
    frame = frame[frame["group"] == "overall"]
    sums = frame.groupby(["student", "arm", "bin"], sort=False)[["hits", "relevant"]].sum()
    found: Students = {}
    for student, arm in frame[["student", "arm"]].drop_duplicates().itertuples(index=False):
        own = sums.loc[student, arm]
        share = {name: _recall(own.loc[name]) if name in own.index else None for name in BINS}
        found.setdefault(student, []).append({"arm": arm, "bins": share})
    return found


def _recall(row: pd.Series[Any]) -> float | None:
    return float(row["hits"] / row["relevant"]) if row["relevant"] else None
