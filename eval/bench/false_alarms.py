"""How often the same real rows are called a gain or a harm: python -m eval.bench.false_alarms [DATA]

Each of `splits` splits is cut with a seed of its own; students are fitted on its real rows, and on these with a fifth
of them repeated, under other seeds: the A/A arm of every verdict. Counted is how often the uncorrected p-value of
NDCG@20, as in `eval.compare`, is below 5 %, with one seed of the student and with several. A fair test does so in one
of 20; more than three of 20 has a probability of 1.6 %. Options of students are fixed: nothing is tuned.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import typer

from eval.arms import AGAIN, REAL, Arm, again
from eval.bench.report import print_json, print_page
from eval.compare import ALPHA, HEADLINE, K, compare
from eval.ranking import GROUPS, held_out, per_user
from eval.split import SplitOptions, cut
from eval.tuning import Choice, fitted
from llm_aug import pipeline
from llm_aug import seeds as randomness
from llm_aug.config import load_recipe
from llm_aug.data import Dataset, Split, read_dataset

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "movies.yaml"
FEWEST_PAIRS = 20  # of an item: 800 items are left, on which hundreds of fits take minutes
REPEATED = 0.2  # of the training rows
STUDENTS: Mapping[str, Mapping[str, Any]] = {
    "ease": {},
    "ials": {"factors": 32},
    "two-tower": {"encoder": "hash:64", "dimensions": 16, "epochs": 5},
}


def scores_of(split: Split, students: Mapping[str, Mapping[str, Any]], seeds: int) -> pd.DataFrame:
    """NDCG@20 per student, arm (real and A/A), seed, group and user."""
    test, frames = held_out(split, "test"), []
    for arm in (Arm(REAL), again(split, round(REPEATED * len(split.train)))):
        for name, options in students.items():
            for seed in range(seeds):
                model = fitted(Choice(name, arm.name, options), split, arm, seed)
                rows = per_user(model, test, (K,), seed)[["group", "user_id", f"{HEADLINE}@{K}"]]
                frames.append(rows.assign(student=name, arm=arm.name, seed=split.seed * 1000 + seed))
    return pd.concat(frames, ignore_index=True)


def alarms(scores: pd.DataFrame, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """A row per student, group and number of seeds: relative difference, p, and whether it is an alarm."""
    rows = []
    for count in seeds:
        used = scores[scores["seed"] % 1000 < count]
        for student in used["student"].unique():
            for group in GROUPS:
                one = compare(used, (student, AGAIN), (student, REAL), group)
                found = {"relative": one.relative, "p": one.p, "alarm": bool(one.p < ALPHA)}
                rows.append({"student": student, "seeds": count, "group": group, **found})
    return rows


def run(
    dataset: Dataset, splits: int, seeds: int, students: Mapping[str, Mapping[str, Any]] = STUDENTS
) -> list[dict[str, Any]]:
    """The rows of `alarms` of every split, with one seed and with all of them."""
    rows = []
    for number in range(splits):
        split = cut(dataset, SplitOptions(seed=number))
        found = alarms(scores_of(split, students, seeds), sorted({1, seeds}))
        rows += [{"split": number, **row} for row in found]
        sys.stderr.write(f"false alarms: {number + 1}/{splits} splits, {sum(row['alarm'] for row in rows)} alarms\n")
    return rows


def some_users(dataset: Dataset, count: int) -> Dataset:
    log, known = dataset.interactions, sorted(set(dataset.interactions["user_id"]))
    drawn = randomness.generator(0, "bench", "users").permutation(known)[:count]
    return Dataset(dataset.items, log[log["user_id"].isin(drawn)].reset_index(drop=True))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: alarms of each student, number of its seeds and group, and how far apart equal data came out."""
    lines = ["| student | seeds | group | alarms | of | mean difference | largest |", "|---|---|---|---|---|---|---|"]
    for (student, seeds, group), part in pd.DataFrame(rows).groupby(["student", "seeds", "group"], sort=False):
        mean, largest = part["relative"].mean(), part["relative"].abs().max()
        cells = [student, seeds, group, part["alarm"].sum(), len(part), f"{mean:+.1%}", f"{largest:.1%}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main(
    data: Path | None = typer.Argument(None, help="A prepared folder; without one, often rated movies are prepared."),  # noqa: B008
    splits: int = typer.Option(20, min=1),
    seeds: int = typer.Option(3, min=1, help="Of each student on each split."),
    users: int = typer.Option(200, min=2, help="Drawn from the data."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    with TemporaryDirectory() as folder:
        if data is None:
            data = Path(folder) / "data"
            pipeline.prepare(load_recipe(RECIPE, [f"clean.min_item_count={FEWEST_PAIRS}"]), data)
        rows = run(some_users(read_dataset(data), users), splits, seeds)
    if as_json:
        print_json(rows)
    else:
        print_page("False alarms of the A/A arm", table(rows))


if __name__ == "__main__":
    typer.run(main)
