"""The verdict's numbers: every student on every arm of one split. `llm-aug evaluate` is this code.

python -m eval.cold_start SPLIT --arm llm=KEPT --student ials --output SCORES

SCORES/per_user.parquet  {"student": "ials", "arm": "llm", "seed": 0, "group": "cold", "user_id": "7", "ndcg@20": .21}
SCORES/tuning.json       what validation chose for each student and arm, of how many
SCORES/catalogue.json    rows {student, arm, seed, group, metric, k, value, users}: see eval.catalogue
SCORES/popularity.json   rows {student, arm, seed, group, bin, items, relevant, hits, recall}: recall@20 of pairs
SCORES/arms.json         how many pairs and texts each arm brought
SCORES/metrics.json, comparisons.json, verdict.txt: see eval.verdict
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from eval.arguments import parse_arms, parse_students, read_arms
from eval.arms import REAL, Arm
from eval.catalogue import by_popularity, catalogue_metrics, per_item, training_counts
from eval.compare import K
from eval.metrics import Counts
from eval.ranking import Held, Lists, held_out, per_user_and_lists
from eval.tuning import Choice, fitted, tune
from eval.verdict import table, write_verdict
from llm_aug.data import Split, read_split
from llm_aug.errors import InputError, LlmAugError
from llm_aug.files import read_json, write_json, write_parquet
from recommender import USUAL, make_student

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Measured:
    """Of all students and arms, in the order of the work. vectors: of the items, by which lists are called diverse."""

    vectors: NDArray[np.float32] | None = None
    per_user: list[pd.DataFrame] = field(default_factory=list)
    catalogue: Rows = field(default_factory=list)
    popularity: Rows = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)


@dataclass(frozen=True)
class EvaluateOptions:
    """students: fixed options by name; what is not fixed is tuned. seeds: of the students and of the order of ties.

    synthetic_weights: factors on the weight of synthetic pairs that tuning tries. ks: cut-offs; 20 is the headline's.
    """

    students: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {name: {} for name in USUAL})
    seeds: Sequence[int] = (0,)
    ks: Sequence[int] = (10, 20, 50)
    synthetic_weights: Sequence[float] = (1.0, 0.5)
    encoder: str = "minilm"


def evaluate(split: Split, arms: Sequence[Arm], options: EvaluateOptions, output: Path) -> str:
    """Fits and ranks everything, writes output, returns the verdict in words. The first arm is 'real'.

    A student's own options are tuned on real data alone; for each arm the weight of its pairs and what only changes
    scoring are tuned. Tuning reads validation, the metrics read test.
    """
    if not len(split.test):
        raise InputError("the split has no test rows; nothing can be evaluated")
    arms = [Arm(REAL), *arms]
    measured = Measured()
    if any(_reads_texts(name, fixed) for name, fixed in options.students.items()):
        from recommender.features import sentence_vectors  # scikit-learn behind it takes a second to load

        measured = Measured(vectors=sentence_vectors(split.training, options.encoder))
    for name, fixed in options.students.items():
        _one_student(name, fixed, split, arms, options, measured)
    per_user_rows = pd.concat(measured.per_user, ignore_index=True)
    write_parquet(output / "per_user.parquet", pa.Table.from_pandas(per_user_rows, preserve_index=False))
    write_json(output / "tuning.json", [choice.as_row() for choice in measured.choices])
    write_json(output / "catalogue.json", measured.catalogue)
    write_json(output / "popularity.json", measured.popularity)
    volumes = [{"arm": arm.name, "pairs": arm.pairs(split), "texts": arm.texts} for arm in arms]
    made = {"encoder": options.encoder, "split_hash": split.hash, "left_cold": "users" if split.by_users else "items"}
    write_json(output / "arms.json", {**made, "arms": volumes})
    return write_verdict(output, [output])


def _one_student(
    name: str,
    fixed: Mapping[str, Any],
    split: Split,
    arms: Sequence[Arm],
    options: EvaluateOptions,
    measured: Measured,
) -> None:
    validation, test = held_out(split, "validation"), held_out(split, "test")
    encoder = {"encoder": options.encoder} if _reads_texts(name, fixed) else {}
    grid = [{**encoder, **tried, **fixed} for tried in make_student(name, {}).GRID]
    trained = training_counts(split)
    for arm in arms:
        choice, tuned = tune(name, grid, options.synthetic_weights, split, arm, validation)
        grid = [dict(choice.options)]  # set by the first arm, real data alone
        for seed in options.seeds:
            model = fitted(choice, split, arm, seed) if seed else tuned
            rows, lists = per_user_and_lists(model, test, options.ks, seed)
            key = {"student": name, "arm": arm.name, "seed": split.seed * 1000 + seed}
            measured.per_user.append(rows.assign(**key))
            found = catalogue_metrics(lists, test.groups, trained, options.ks, measured.vectors)
            measured.catalogue.extend({**key, **row} for row in found)
            measured.popularity.extend({**key, **row} for row in _popularity(lists, test, trained))
        measured.choices.append(choice)
        overall = rows.loc[rows["group"] == "overall", "ndcg@20"].mean()
        sys.stderr.write(f"evaluate: {name} on {arm.name}: overall NDCG@20 {overall:.4f}\n")


def _reads_texts(student: str, options: Mapping[str, Any]) -> bool:
    return hasattr(make_student(student, dict(options)), "encoder")


def _popularity(lists: Mapping[str, Lists], test: Held, trained: Counts) -> Rows:
    rows = []
    for group, listed in lists.items():
        table = by_popularity(per_item(listed, test, group, K), trained)
        without = table["relevant"] == 0  # JSON has no NaN
        records = table.assign(recall=table["recall"].astype(object).mask(without, None)).to_dict("records")
        rows += [{"group": group, **row} for row in records]
    return rows


def summary(output: Path) -> str:
    """What was found, for a reader: the table, then the verdict."""
    words = (output / "verdict.txt").read_text(encoding="utf-8")
    return f"{table(read_json(output / 'metrics.json'))}\n{words}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The same as `llm-aug evaluate`, without the marks of a run: what lies in the output folder is written over."""
    parser = argparse.ArgumentParser(prog="python -m eval.cold_start", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("split", type=Path)
    parser.add_argument(
        "--arm", action="append", default=[], metavar="NAME=KEPT", help="the same name twice is one arm"
    )
    parser.add_argument("--student", action="append", default=[], metavar="NAME[:KEY=VALUE,...]")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        split = read_split(given.split)
        students, seeds = parse_students(given.student), range(given.seeds)
        options = EvaluateOptions(students=students, seeds=tuple(seeds), encoder=given.encoder)
        evaluate(split, read_arms(parse_arms(given.arm), split), options, given.output)
    except LlmAugError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(summary(given.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
