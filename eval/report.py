"""One self-contained report.html: the verdict first, then everything it rests on."""

from __future__ import annotations

import hashlib
import math
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval.arms import AGAIN, REAL
from eval.compare import HEADLINE, Comparison, K, compare, compare_all
from eval.findings import BEST_SINGLE, FUSION, Marks, best, find
from eval.ranking import GROUPS
from eval.report_arms import EXPECTED, FOREIGN, MEANINGS, maker
from eval.report_files import Found
from eval.report_lists import by_bin, catalogue
from eval.report_plot import forest, warm_up
from eval.report_run import read_run, totals
from eval.verdict import left_cold, read_scores, read_validation, summarise, summarise_catalogue
from llm_aug.files import write_text

KEYS = ["student", "arm", "seed", "group", "user_id"]


def write_report(output: Path, title: str, folders: Sequence[Path], run: Path | None = None) -> None:
    """Writes output/report.html, or output itself where it ends in .html.

    folders: evaluation folders (see eval.cold_start), one per split seed, or of a warm-up sweep (see eval.warm_up).
    run: a run folder, searched by file name. What is missing or unreadable is left out, and the page says so.
    """
    notes: list[str] = []
    evaluations = [Found(folder, notes) for folder in folders]
    told = read_run(Found(run, notes)) if run else None
    swept = [Found(run, notes)] if run and not any(found.rows("warm_up.json") for found in evaluations) else evaluations
    page = {
        "title": title,
        "verdict": _verdict(folders, notes),
        "volumes": _volumes(evaluations, told["generators"] if told else {}),
        "lists": catalogue(summarise_catalogue(folders)),
        "bins": by_bin([row for found in evaluations for row in found.rows("popularity.json")]),
        "warm_up": warm_up([row for found in swept for row in found.rows("warm_up.json")]),
        "tuning": [row for found in evaluations for row in found.rows("tuning.json")],
        "run": told,
        "totals": totals(told["stages"] if told else ()),
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


def _volumes(evaluations: Sequence[Found], generators: Mapping[str, set[str]]) -> list[dict[str, Any]]:
    """Per arm the pairs and texts of one split, averaged over splits, and who made them."""
    rows = [row for found in evaluations for _, made in found.json("arms.json") for row in made.get("arms", ())]
    if not rows:
        return []
    told: dict[str, set[str]] = {}
    for row in rows:  # what an evaluation says of an arm's origin goes before what its run holds under that name
        told.setdefault(row["arm"], set()).update(row.get("generators", ()))
    means = pd.DataFrame(rows)[["arm", "pairs", "texts"]].groupby("arm", sort=False).mean().reset_index()
    return [
        {**row, "maker": maker(row["arm"], told[row["arm"]] or _made(row["arm"], generators))}
        for row in means.to_dict("records")
    ]


def _made(arm: str, generators: Mapping[str, set[str]]) -> set[str]:
    """Of an arm, or of the parts of one like llm+rewrite."""
    return set().union(*(generators.get(part, set()) for part in (arm, *arm.split("+"))))


def _verdict(folders: Sequence[Path], notes: list[str]) -> dict[str, Any] | None:
    """None without any scores."""
    column = f"{HEADLINE}@{K}"
    scored = [folder for folder in folders if (folder / "per_user.parquet").is_file()]
    sweeps = [folder for folder in folders if (folder / "warm_up.json").is_file()]
    notes += [f"{folder} has no per_user.parquet." for folder in folders if folder not in (*scored, *sweeps)]
    scores = read_scores(scored) if scored else pd.DataFrame()
    if not {*KEYS, column} <= set(scores.columns) or not len(scores):
        return None
    scores = scores[[*KEYS, column]]  # the intervals of the other metrics would cost minutes and are not shown
    metrics, comparisons = summarise(scores), compare_all(scores)
    own = {(one.student, one.arm): one for one in comparisons if (one.group, one.against) == ("overall", REAL)}
    warm = {(one.student, one.arm): one for one in comparisons if (one.group, one.against) == ("warm", REAL)}
    marks = _validation(scored, metrics)
    real, merged = _best(metrics, marks, real=True), _best(metrics, marks, real=False)
    cold = left_cold(scored)
    found = find(scores, metrics, comparisons, marks, cold)
    headline = {key[0] for key in (real, merged) if key}  # the header tells it, and the sentence would say it again
    arms = list(dict.fromkeys(arm for _, arm in own))
    return {
        "main": compare(scores, merged, real, "overall") if real and merged else None,
        "faults": [one for one in own.values() if one.arm == AGAIN and one.word != "no gain"],
        "cold": cold,
        "summary": [words for words in found.summary if FUSION in headline or not words.startswith(BEST_SINGLE)],
        "doubts": found.doubts,
        "picked_on_test": not marks,
        "forest": forest(metrics, own),
        "table": _table(metrics, own, warm),
        "best": {real: "best real-only", merged: "best merged"},
        "controls": [
            {"arm": arm, "meaning": MEANINGS.get(arm, ""), "results": [one for one in own.values() if one.arm == arm]}
            for arm in (*MEANINGS, *(name for name in arms if maker(name, ()) == FOREIGN))
        ],
        "expected": EXPECTED,
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


def _table(
    metrics: Sequence[dict[str, Any]],
    own: Mapping[tuple[str, str], Comparison],
    warm: Mapping[tuple[str, str], Comparison],
) -> dict[str, list[dict[str, Any]]]:
    """Per student the rows of its arms: arm, the metric rows of the three groups, comparisons with real data."""
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for row in metrics:
        cells.setdefault(row["student"], {}).setdefault(row["arm"], {})[row["group"]] = row
    return {
        student: [
            {
                "arm": arm,
                **{group: rows.get(group) for group in GROUPS},
                "against": own.get((student, arm)),
                "against_warm": warm.get((student, arm)),
            }
            for arm, rows in arms.items()
        ]
        for student, arms in cells.items()
    }
