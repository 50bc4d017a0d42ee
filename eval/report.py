"""One self-contained report.html: the verdict first, then everything it rests on."""

from __future__ import annotations

import hashlib
import math
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval.arms import AGAIN, REAL
from eval.compare import HEADLINE, Comparison, K, compare, compare_all
from eval.ranking import GROUPS
from eval.report_run import Found, read_run
from eval.verdict import WARM_LOSS, Marks, best, left_cold, read_scores, read_validation, sentences, summarise
from llm_aug.files import write_text

CONTROLS = {
    AGAIN: "The same real rows once more: it must show no gain, or the experiment itself makes gains.",
    "random": "As many pairs, with users drawn at random: what more rows do, however senseless.",
    "active": "As many pairs, all with the most active users: what feeding the heavy users does.",
    "shuffled": "The same texts given to the wrong items: what text does, whatever it says.",
    "funnel": "The nearest users without any LLM: what the LLM has to improve on.",
    "random-items": "As many items for the same users, drawn at random: what more rows do, however senseless.",
    "popular-items": "As many items for the same users, the most popular: what repeating the crowd does.",
    "similar-items": "As many items for the same users, nearest to what they have: what text does without an LLM.",
}
KEYS = ["student", "arm", "seed", "group", "user_id"]
FAR = 4  # an interval this many times longer than the median one is cut off, or it would flatten all the others


def write_report(output: Path, title: str, folders: Sequence[Path], run: Path | None = None) -> None:
    """Writes output/report.html, or output itself where it ends in .html.

    folders: evaluation folders (see eval.cold_start), one per split seed. run: a run folder, searched by file name.
    What is missing or unreadable is left out, and the page says so.
    """
    notes: list[str] = []
    evaluations = [Found(folder, notes) for folder in folders]
    page = {
        "title": title,
        "verdict": _verdict(folders, notes),
        "volumes": _volumes(evaluations),
        "tuning": [row for found in evaluations for _, rows in found.json("tuning.json", list) for row in rows],
        "run": read_run(Found(run, notes)) if run else None,
        "notes": notes,
    }
    path = output if output.suffix == ".html" else output / "report.html"
    write_text(path, _environment().get_template("report.html.j2").render(page))


def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"relative": relative, "number": number, "typeset": typeset, "csp_hash": csp_hash}
    return found


def number(value: float | None, digits: int = 0, sign: str = "") -> str:
    """With thousands separated and a true minus; a dash where there is no finite number."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{round(value, digits) + 0.0:{sign},.{digits}f}".replace("-", "−")  # + 0.0: no minus before a zero


def relative(value: float | None) -> str:
    """As a percentage with its sign, to a tenth below 100 %."""
    if value is None or not math.isfinite(value):
        return "–"
    return number(100 * value, 1 if abs(value) < 1 else 0, "+") + "%"


def typeset(words: str) -> str:
    """The verdict's sentences with true minus signs."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", words)


def csp_hash(script: str) -> str:
    """The hash by which the page's policy allows its one script, and no other."""
    return "sha256-" + b64encode(hashlib.sha256(str(script).encode()).digest()).decode()


def _volumes(evaluations: Sequence[Found]) -> list[dict[str, Any]]:
    """Per arm the pairs and texts of one split, averaged over splits."""
    rows = [row for found in evaluations for _, made in found.json("arms.json") for row in made.get("arms", ())]
    if not rows:
        return []
    means: list[dict[str, Any]] = pd.DataFrame(rows).groupby("arm", sort=False).mean().reset_index().to_dict("records")
    return means


def _verdict(folders: Sequence[Path], notes: list[str]) -> dict[str, Any] | None:
    """None without any scores."""
    column = f"{HEADLINE}@{K}"
    scored = [folder for folder in folders if (folder / "per_user.parquet").is_file()]
    notes += [f"{folder} has no per_user.parquet." for folder in folders if folder not in scored]
    scores = read_scores(scored) if scored else pd.DataFrame()
    if not {*KEYS, column} <= set(scores.columns) or not len(scores):
        return None
    scores = scores[[*KEYS, column]]  # the intervals of the other metrics would cost minutes and are not shown
    metrics, comparisons = summarise(scores), compare_all(scores)
    own = {(one.student, one.arm): one for one in comparisons if (one.group, one.against) == ("overall", REAL)}
    marks = _validation(scored, metrics)
    real, merged = _best(metrics, marks, real=True), _best(metrics, marks, real=False)
    return {
        "main": compare(scores, merged, real, "overall") if real and merged else None,
        "faults": [one for one in own.values() if one.arm == AGAIN and one.word != "no gain"],
        "warm": [one for one in comparisons if _warm_loss(one) and (one.student, one.arm) == merged],
        "cold": (cold := left_cold(scored)),
        "sentences": sentences(scores, metrics, comparisons, marks, cold),
        "picked_on_test": not marks,
        "forest": _forest(metrics, own),
        "table": _table(metrics, own),
        "best": {real: "best real-only", merged: "best merged"},
        "controls": [
            {"arm": arm, "meaning": meaning, "results": [one for one in own.values() if one.arm == arm]}
            for arm, meaning in CONTROLS.items()
        ],
        "duels": [one for one in comparisons if one.against != REAL and one.group == "overall"],
        "comparisons": len(own),
        "seeds": scores["seed"].nunique(),
    }


def _validation(folders: Sequence[Path], metrics: Sequence[dict[str, Any]]) -> Marks:
    """Empty unless every student on every arm has a mark."""
    if not all((folder / "tuning.json").is_file() for folder in folders):
        return {}
    marks = read_validation(folders)
    return marks if {(row["student"], row["arm"]) for row in metrics} <= set(marks) else {}


def _best(metrics: Sequence[dict[str, Any]], validation: Marks, real: bool) -> tuple[str, str] | None:
    """The best (student, arm), fusion or not: real-only data may be fused, so that is the bar."""
    test = {(row["student"], row["arm"]): row["mean"] for row in metrics if row["group"] == "overall"}
    found = [top for fusion in (False, True) if (top := best(metrics, real, fusion, validation))]
    return max(found, key=(validation or test).__getitem__, default=None)


def _warm_loss(one: Comparison) -> bool:
    return one.group == "warm" and one.against == REAL and one.relative < -WARM_LOSS


def _table(
    metrics: Sequence[dict[str, Any]], own: Mapping[tuple[str, str], Comparison]
) -> dict[str, list[dict[str, Any]]]:
    """Per student the rows of its arms: arm, the metric rows of the three groups, comparison with real data."""
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for row in metrics:
        cells.setdefault(row["student"], {}).setdefault(row["arm"], {})[row["group"]] = row
    return {
        student: [
            {"arm": arm, **{group: rows.get(group) for group in GROUPS}, "against": own.get((student, arm))}
            for arm, rows in arms.items()
        ]
        for student, arms in cells.items()
    }


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


def _forest(metrics: Sequence[dict[str, Any]], own: Mapping[tuple[str, str], Comparison]) -> dict[str, Any] | None:
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
