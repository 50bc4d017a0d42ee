"""What is done of an evaluation, a student on an arm at a time, so that one that was killed goes on where it was.

SCORES/parts/<fingerprint>.parquet  rows as in per_user.parquet
SCORES/parts/<fingerprint>.json     {"choice": {...}, "trials": [...], "catalogue": [...], "popularity": [...]}, last

The fingerprint covers what the numbers follow from but for the code: the split's tables, the arm's samples, the
student, its fixed options, and the options of the evaluation. The finished files are made of these, whether or not the
work was interrupted. They go when all is written: then they would only say everything twice, and a folder of another
recipe is refused anyway.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from eval.arms import Arm
from eval.tuning import Choice
from llm_aug.data import Split
from llm_aug.errors import InputError
from llm_aug.files import fingerprint, read_json, read_parquet, write_json, write_parquet

FOLDER = "parts"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """One student on one arm. per_user: rows of all seeds."""

    choice: Choice
    trials: Rows
    catalogue: Rows
    popularity: Rows
    per_user: pa.Table


@dataclass(frozen=True)
class Parts:
    """The parts of one evaluation. made: what all of them follow from."""

    scores: Path
    made: Mapping[str, Any]

    def place(self, student: str, fixed: Mapping[str, Any], arm: str) -> Path:
        """arm: what `content_of_arm` says of it. Names of users never become paths."""
        return self.scores / FOLDER / fingerprint([self.made, student, fixed, arm])

    def write(self, place: Path, part: Part) -> None:
        write_parquet(place.with_suffix(".parquet"), part.per_user)
        rows = {"trials": part.trials, "catalogue": part.catalogue, "popularity": part.popularity}
        write_json(place.with_suffix(".json"), {"choice": part.choice.as_row(), **rows})

    def read(self, place: Path) -> Part | None:
        """None where it is not there, or damaged: then it is made again."""
        try:
            told = read_json(place.with_suffix(".json"))
            return Part(
                **{**told, "choice": Choice(**told["choice"])}, per_user=read_parquet(place.with_suffix(".parquet"))
            )
        except (InputError, TypeError, KeyError):
            return None

    def clean(self) -> None:
        shutil.rmtree(self.scores / FOLDER, ignore_errors=True)


def content_of_split(split: Split) -> str:
    """A hash of the tables, texts and weights included, and of what is cold."""
    told = repr((split.cold_items, split.cold_users, split.strategy, split.seed, split.revealed))
    digest = hashlib.sha256(told.encode("utf-8", "surrogatepass"))
    for table in (split.items, *split.parts.values()):
        digest.update(repr(list(table.columns)).encode("utf-8", "surrogatepass"))
        digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def content_of_arm(arm: Arm) -> str:
    digest = hashlib.sha256(repr((arm.name, arm.seed_shift)).encode("utf-8", "surrogatepass"))
    for sample in arm.samples:
        digest.update(repr(sample).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
