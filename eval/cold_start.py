"""The verdict's numbers: every student on every arm of one split. `llm-aug evaluate` is this code.

python -m eval.cold_start SPLIT --arm llm=KEPT --student ials --output SCORES

SCORES/per_user.parquet  {"student": "ials", "arm": "llm", "seed": 0, "group": "cold", "user_id": "7", "ndcg@20": .21}
SCORES/tuning.json       what validation chose for each student and arm, of how many
SCORES/trials.json       every model that it chose from: see eval.tuning.Trial
SCORES/catalogue.json    rows {student, arm, seed, group, metric, k, value, users}: see eval.catalogue
SCORES/popularity.json   rows {student, arm, seed, group, bin, items, relevant, hits, recall}: recall@20 of pairs
SCORES/arms.json         how many pairs and texts each arm brought
SCORES/metrics.json, comparisons.json, verdict.txt: see eval.verdict
SCORES/parts/            what is done, while the work goes on: see eval.parts
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from eval.arguments import evaluation_parser, parse_arms, parse_students, read_arms
from eval.arms import REAL, Arm
from eval.catalogue import by_popularity, catalogue_metrics, per_item, training_counts
from eval.compare import K
from eval.metrics import Counts
from eval.parts import Part, Parts, Rows, content_of_arm, content_of_split
from eval.ranking import Held, Lists, held_out, per_user_and_lists
from eval.tuning import fitted, tune, with_encoder
from eval.verdict import write_verdict
from llm_aug.data import Split
from llm_aug.errors import InputError, LlmAugError
from llm_aug.files import write_json, write_parquet
from llm_aug.splits import read_split
from recommender import USUAL


@dataclass(frozen=True)
class EvaluateOptions:
    """students: fixed options by name; what is not fixed is tuned. seeds: of the students and of the order of ties.

    trials: fits on real data that each student has to find its options; a student with fewer to choose from needs
    fewer. synthetic_weights: factors on the weight of synthetic pairs that tuning tries. ks: cut-offs; 20 is the
    headline's.
    """

    students: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {name: {} for name in USUAL})
    seeds: Sequence[int] = (0,)
    ks: Sequence[int] = (10, 20, 50)
    trials: Annotated[int, Field(ge=1)] = 6
    synthetic_weights: Sequence[float] = (1.0, 0.5)
    encoder: str = "minilm"


@dataclass(frozen=True)
class _Work:
    """What one student on one arm is measured with. vectors: of the items, by which lists are called diverse."""

    split: Split
    options: EvaluateOptions
    vectors: NDArray[np.float32] | None
    validation: Held
    test: Held


def evaluate(split: Split, arms: Sequence[Arm], options: EvaluateOptions, output: Path) -> str:
    """Fits and ranks everything, writes output, returns the verdict in words. The first arm is 'real'.

    A student's own options are tuned on real data alone; for each arm the weight of its pairs and what only changes
    scoring are tuned. Tuning reads validation, the metrics read test. Interrupted, the same call goes on.
    """
    if not len(split.test):
        raise InputError("the split has no test rows; nothing can be evaluated")
    arms, vectors = [Arm(REAL), *arms], None
    if any("encoder" in with_encoder(name, fixed, options.encoder) for name, fixed in options.students.items()):
        from recommender.features import sentence_vectors  # scikit-learn behind it takes a second to load

        vectors = sentence_vectors(split.training, options.encoder)
    work = _Work(split, options, vectors, held_out(split, "validation"), held_out(split, "test"))
    parts = Parts(output, _made(work))
    measured = list(_measured(work, arms, parts))
    write_parquet(output / "per_user.parquet", pa.concat_tables([part.per_user for part in measured]))
    write_json(output / "tuning.json", [part.choice.as_row() for part in measured])
    for name in ("trials", "catalogue", "popularity"):
        write_json(output / f"{name}.json", [row for part in measured for row in getattr(part, name)])
    volumes = [{"arm": arm.name, "pairs": arm.pairs(split), "texts": arm.texts} for arm in arms]
    made = {"encoder": options.encoder, "split_hash": split.hash, "left_cold": "users" if split.by_users else "items"}
    write_json(output / "arms.json", {**made, "arms": volumes})
    words = write_verdict(output, [output])
    parts.clean()
    return words


def _made(work: _Work) -> dict[str, Any]:
    """What every number follows from, but for the student and the arm."""
    given = {name: getattr(work.options, name) for name in ("seeds", "ks", "trials", "synthetic_weights", "encoder")}
    vectors = None if work.vectors is None else hashlib.sha256(work.vectors.tobytes()).hexdigest()
    return {**given, "split": content_of_split(work.split), "vectors": vectors}


def _measured(work: _Work, arms: Sequence[Arm], parts: Parts) -> Iterator[Part]:
    """Every student on every arm, read where it was done before."""
    students, contents = work.options.students, [content_of_arm(arm) for arm in arms]
    places = {name: [parts.place(name, fixed, arm) for arm in contents] for name, fixed in students.items()}
    total = len(students) * len(arms)
    done = sum(place.with_suffix(".json").exists() for found in places.values() for place in found)
    if done:
        sys.stderr.write(f"evaluate: {done}/{total} done before\n")
    for name, fixed in students.items():
        chosen: Mapping[str, Any] | None = None
        for arm, place in zip(arms, places[name], strict=True):
            part = parts.read(place)
            if part is None:
                parts.write(place, _one(work, name, fixed if chosen is None else chosen, arm))
                part = parts.read(place)  # so that it is the same whether or not the work was interrupted
                assert part is not None
            chosen = part.choice.options  # set by the first arm, real data alone
            yield part


def _one(work: _Work, name: str, fixed: Mapping[str, Any], arm: Arm) -> Part:
    """A student on an arm. fixed: what is not searched."""
    split, options = work.split, work.options
    fixed, weights = with_encoder(name, fixed, options.encoder), options.synthetic_weights
    tuned = tune(name, fixed, options.trials, weights, split, arm, work.validation)
    trained, frames = training_counts(split), []
    catalogue: Rows = []
    popularity: Rows = []
    for seed in options.seeds:
        model = fitted(tuned.choice, split, arm, seed) if seed else tuned.model
        rows, lists = per_user_and_lists(model, work.test, options.ks, seed)
        key = {"student": name, "arm": arm.name, "seed": split.seed * 1000 + seed}
        frames.append(rows.assign(**key))
        found = catalogue_metrics(lists, work.test.groups, trained, options.ks, work.vectors)
        catalogue.extend({**key, **row} for row in found)
        popularity.extend({**key, **row} for row in _popularity(lists, work.test, trained))
    overall = rows.loc[rows["group"] == "overall", "ndcg@20"].mean()
    sys.stderr.write(f"evaluate: {name} on {arm.name}: overall NDCG@20 {overall:.4f}\n")
    per_user = pa.Table.from_pandas(pd.concat(frames, ignore_index=True), preserve_index=False)
    return Part(tuned.choice, [trial.as_row() for trial in tuned.trials], catalogue, popularity, per_user)


def _popularity(lists: Mapping[str, Lists], test: Held, trained: Counts) -> Rows:
    rows = []
    for group, listed in lists.items():
        table = by_popularity(per_item(listed, test, group, K), trained)
        without = table["relevant"] == 0  # JSON has no NaN
        records = table.assign(recall=table["recall"].astype(object).mask(without, None)).to_dict("records")
        rows += [{"group": group, **row} for row in records]
    return rows


def summary(output: Path) -> str:
    """What was found, for a reader."""
    return (output / "verdict.txt").read_text(encoding="utf-8")


def options_of(given: argparse.Namespace) -> EvaluateOptions:
    """From the command line of an `evaluation_parser`."""
    students = parse_students(given.student)
    return EvaluateOptions(students=students, seeds=tuple(range(given.seeds)), encoder=given.encoder)


def main(arguments: Sequence[str] | None = None) -> int:
    """The same as `llm-aug evaluate`, without the marks of a run: what lies in the output folder is written over."""
    given = evaluation_parser("eval.cold_start", __doc__).parse_args(arguments)
    try:
        split = read_split(given.split)
        evaluate(split, read_arms(parse_arms(given.arm), split), options_of(given), given.output)
    except LlmAugError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(summary(given.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
