"""The verdict's numbers: every student on every arm of one split. `llm-aug evaluate` is this code.

python -m eval.cold_start SPLIT --arm llm=KEPT --student ials --output SCORES

SCORES/per_user.parquet  {"student": "ials", "arm": "llm", "seed": 0, "group": "cold", "user_id": "7", "ndcg@20": .21}
SCORES/tuning.json       what validation chose for each student and arm, of how many
SCORES/arms.json         how many pairs and texts each arm brought
SCORES/metrics.json, comparisons.json, verdict.txt: see eval.verdict
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from eval.arms import REAL, Arm
from eval.ranking import held_out, per_user
from eval.tuning import Choice, fitted, tune
from eval.verdict import write_verdict
from llm_aug.data import Split
from llm_aug.errors import InputError
from llm_aug.files import write_json, write_parquet
from recommender import STUDENTS, make_student


@dataclass(frozen=True)
class EvaluateOptions:
    """students: fixed options by name; what is not fixed is tuned. seeds: of the students and of the order of ties.

    synthetic_weights: factors on the weight of synthetic pairs that tuning tries. ks: cut-offs; 20 is the headline's.
    """

    students: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {name: {} for name in STUDENTS})
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
    frames, choices = [], []
    for name, fixed in options.students.items():
        rows, chosen = _one_student(name, fixed, split, arms, options)
        frames += rows
        choices += chosen
    per_user_rows = pd.concat(frames, ignore_index=True)
    write_parquet(output / "per_user.parquet", pa.Table.from_pandas(per_user_rows, preserve_index=False))
    write_json(output / "tuning.json", [choice.as_row() for choice in choices])
    volumes = [{"arm": arm.name, "pairs": arm.pairs, "texts": arm.texts} for arm in arms]
    write_json(output / "arms.json", {"encoder": options.encoder, "split_hash": split.hash, "arms": volumes})
    return write_verdict(output, [output])


def _one_student(
    name: str, fixed: Mapping[str, Any], split: Split, arms: Sequence[Arm], options: EvaluateOptions
) -> tuple[list[pd.DataFrame], list[Choice]]:
    validation, test = held_out(split, "validation"), held_out(split, "test")
    encoder = {"encoder": options.encoder} if hasattr(make_student(name, dict(fixed)), "encoder") else {}
    grid = [{**encoder, **tried, **fixed} for tried in make_student(name, {}).GRID]
    frames, choices = [], []
    for arm in arms:
        choice = tune(name, grid, options.synthetic_weights, split, arm, validation)
        grid = [dict(choice.options)]  # set by the first arm, real data alone
        for seed in options.seeds:
            rows = per_user(fitted(choice, split, arm, seed), test, options.ks, seed)
            frames.append(rows.assign(student=name, arm=arm.name, seed=split.seed * 1000 + seed))
        choices.append(choice)
        overall = frames[-1].loc[frames[-1]["group"] == "overall", "ndcg@20"].mean()
        sys.stderr.write(f"evaluate: {name} on {arm.name}: overall NDCG@20 {overall:.4f}\n")
    return frames, choices
