"""Numbers as places in a drawing: axes, the plot of gains, and lines over steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from eval.arms import REAL
from eval.compare import Comparison

FAR = 4  # an interval this many times longer than the median one is cut off, or it would flatten all the others
POINTS = 240  # of a loss curve: as many as its width in pixels could show
COLOURS = 8  # of lines that an eye tells apart
TINY = 1e-9  # an axis has a length even where all values are one


@dataclass(frozen=True)
class Axis:
    low: float
    high: float

    def at(self, value: float) -> float:
        """Percent of the width, within it."""
        return round(100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low), 2)

    @property
    def ticks(self) -> Iterator[tuple[float, str]]:
        """About five round values: (percent of the width, label)."""
        power = 10.0 ** math.floor(math.log10((self.high - self.low) / 5))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * 6 >= self.high - self.low)
        for count in range(math.ceil(self.low / step), math.floor(self.high / step) + 1):
            label = f"{count * step:+.{max(0, -math.floor(math.log10(step * 100)))}%}" if count else "0"
            yield self.at(count * step), label.replace("-", "−")


def axis_of(lows: Sequence[float], highs: Sequence[float]) -> Axis:
    """Holds zero and every interval, but for those so long that they would flatten the others."""
    lengths = np.maximum(np.abs(lows), np.abs(highs))
    limit = min(lengths.max(), FAR * float(np.median(lengths))) or lengths.max() or 0.01
    low, high = max(min(0.0, *lows), -limit), min(max(0.0, *highs), limit)
    margin = 0.04 * (high - low) or 0.01
    return Axis(low - margin, high + margin)


def forest(metrics: Sequence[dict[str, Any]], own: Mapping[tuple[str, str], Comparison]) -> dict[str, Any] | None:
    """Gains with their intervals as shares of the same student's mean on real data; None without any."""
    base = {row["student"]: row["mean"] for row in metrics if (row["group"], row["arm"]) == ("overall", REAL)}
    rows = [
        {"one": one, **{name: getattr(one, name) / base[one.student] for name in ("gain", "low", "high")}}
        for one in own.values()
        if base.get(one.student, 0) > 0 and math.isfinite(one.gain)
    ]
    if not rows:
        return None
    axis = axis_of([row["low"] for row in rows], [row["high"] for row in rows])
    students: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        students.setdefault(row["one"].student, []).append(row)
    return {"axis": axis, "ticks": list(axis.ticks), "students": students}


def loss_curve(curve: Sequence[Sequence[float]]) -> dict[str, Any] | None:
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


def warm_up(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Rows of warm_up.json, of one split or several: a plot per student and group with a line per arm.

    Means and ends of intervals are averaged over splits. k is drawn to scale; the other axis ends where the bands do.
    """
    names = ["student", "group", "arm", "k"]
    frame = pd.DataFrame(rows, columns=[*names, "mean", "low", "high"]).dropna(subset=["mean"])
    if not len(frame):
        return None
    means = frame.groupby(names, sort=False).mean().reset_index()
    arms = list(dict.fromkeys(means["arm"]))
    plots = []
    for (student, group), part in means.groupby(["student", "group"], sort=False):
        up = Axis(float(part[["mean", "low"]].min(axis=None)), float(part[["mean", "high"]].max(axis=None)) + TINY)
        across = Axis(0, max(float(part["k"].max()), 1.0))
        lines = [
            {"arm": arm, "colour": arms.index(arm) % COLOURS, **_line(own.sort_values("k"), across, up)}
            for arm, own in part.groupby("arm", sort=False)
        ]
        ks = [(across.at(k), int(k)) for k in sorted(part["k"].unique())]
        plots.append({"student": student, "group": group, "up": up, "ks": ks, "lines": lines})
    return {"arms": [(arm, place % COLOURS) for place, arm in enumerate(arms)], "plots": plots}


def _line(rows: pd.DataFrame, across: Axis, up: Axis) -> dict[str, Any]:
    """points: the means; band: the intervals, up along the highs and back along the lows; values: to be read."""

    def points(part: pd.DataFrame, name: str) -> str:
        return " ".join(f"{across.at(k)},{100 - up.at(v):.2f}" for k, v in zip(part["k"], part[name], strict=True))

    sure = rows.dropna()
    return {
        "points": points(rows, "mean"),
        "band": f"{points(sure, 'high')} {points(sure.iloc[::-1], 'low')}".strip(),
        "values": rows[["k", "mean", "low", "high"]].to_dict("records"),
    }
