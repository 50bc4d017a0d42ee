"""Puts the verdicts of finished runs into README.md and eval/bench/VERDICTS.md: python -m eval.bench.readme RUN ...

A run comes from `llm-aug run eval/recipes/NAME.yaml --output RUN`; its tables are titled with its folder's name.
README.md gets the overall figures, between its marks, and the page all of them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.compare import HEADLINE, K
from eval.findings import headline
from eval.verdict import table
from llm_aug.errors import InputError
from llm_aug.files import read_json, write_text

README = Path(__file__).resolve().parents[2] / "README.md"
PAGE = Path(__file__).with_name("VERDICTS.md")
QUESTIONS = (
    ("Pairs judged by the model over real data alone, overall", "llm", "real", "overall"),
    ("The same, warm items", "llm", "real", "warm"),
    ("The model over the funnel without it, overall", "llm", "funnel", "overall"),
    ("Random users at equal volume over real data alone, overall", "random", "real", "overall"),
    ("The same real rows again (A/A), overall", "a/a", "real", "overall"),
)
MARKS = re.compile(r"(<!-- results: [^>]*-->\n).*?(<!-- end -->)", re.DOTALL)


def judged(run: Path) -> str:
    """A line on the judge: its AUC inside pseudo-cold candidate lists beside the funnel's, a value per split."""
    found: list[dict[str, float]] = [
        read_json(path)["auc_in_pseudo_cold_lists"] for path in sorted(run.glob("seed-*/04-samples-llm/metrics.json"))
    ]
    values = {name: ", ".join(f"{one[name]:.3f}" for one in found if name in one) for name in ("funnel", "judge")}
    named = "; ".join(f"{name} {value}" for name, value in values.items() if value)
    return f"AUC inside the candidate lists of pseudo-cold items, per split: {named}.\n" if named else ""


def relations(run: Path) -> str:
    """A line per question, the answer of each student: word, relative difference of NDCG@20 and its interval."""
    rows: list[dict[str, Any]] = read_json(run / "comparisons.json")
    lines = []
    for question, arm, against, group in QUESTIONS:
        answers = [
            f"{row['student']} {row['word']} {_relative(row)}"
            for row in rows
            if (row["arm"], row["against"], row["group"]) == (arm, against, group)
            and row["student"] == row["against_student"]
        ]
        if answers:
            lines.append(f"- {question}: {'; '.join(answers)}.")
    return "\n".join(lines)


def _relative(row: dict[str, Any]) -> str:
    """+74.5 % (+64.4 to +84.7): the difference and its interval over the mean of what is compared with."""
    if not row["relative"]:
        return "+0.0 %"
    mean = row["gain"] / row["relative"]
    low, high = (f"{row[end] / mean:+.1%}".rstrip("%") for end in ("low", "high"))
    return f"{row['relative']:+.1%} ({low} to {high})".replace("%", " %", 1)


def _metrics(run: Path) -> tuple[list[dict[str, Any]], int]:
    """And the number of splits."""
    if not (run / "metrics.json").is_file():
        raise InputError(f"{run} holds no finished run (no metrics.json); `llm-aug run` makes one")
    metrics: list[dict[str, Any]] = read_json(run / "metrics.json")
    return metrics, max(row["seed_count"] for row in metrics)


def section(run: Path) -> str:
    """All that is told of a run: every student and arm, the judge, the verdict, and each question."""
    metrics, splits = _metrics(run)
    sentences = headline((run / "verdict.txt").read_text(encoding="utf-8"))
    told = "".join(f"- {sentence}\n" for sentence in sentences)
    title = f"## {run.name}\n\nNDCG@20 over {splits} splits, full ranking:"
    return "\n\n".join([title, table(metrics) + "\n" + judged(run), told + relations(run)]) + "\n"


def brief(run: Path) -> str:
    """A row per student, a column per arm: overall NDCG@20."""
    metrics, splits = _metrics(run)
    wanted = (HEADLINE, K, "overall")
    found = {(row["student"], row["arm"]): row["mean"] for row in metrics if _key(row) == wanted}
    arms = list(dict.fromkeys(arm for _, arm in found))
    lines = [f"| student | {' | '.join(arms)} |", "|---|" + "---:|" * len(arms)]
    for student in dict.fromkeys(student for student, _ in found):
        cells = [f"{found[student, arm]:.3f}" if (student, arm) in found else "-" for arm in arms]
        lines.append(f"| {student} | {' | '.join(cells)} |")
    return f"**{run.name}**, overall NDCG@20 over {splits} splits:\n\n" + "\n".join(lines) + "\n"


def _key(row: dict[str, Any]) -> tuple[str, int, str]:
    return row["metric"], row["k"], row["group"]


def main(arguments: Sequence[str]) -> None:
    if not arguments:
        raise SystemExit("usage: python -m eval.bench.readme RUN ...")
    runs = [Path(run) for run in arguments]
    sections, briefs = ("\n".join(map(tell, runs)) for tell in (section, brief))
    text = README.read_text(encoding="utf-8")
    if not MARKS.search(text):
        raise SystemExit("README.md has no <!-- results: --> and <!-- end --> marks")
    write_text(README, MARKS.sub(lambda found: f"{found[1]}\n{briefs}\n{found[2]}", text))
    write_text(PAGE, f"# Verdicts: every student and arm, written by `python -m eval.bench.readme`\n\n{sections}")


if __name__ == "__main__":
    main(sys.argv[1:])
