"""A single recommender, fitted on real data and samples, kept on disk, and asked for its lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from eval.arguments import checked_students
from eval.arms import read_arm
from eval.metrics import rank
from llm_aug import seeds
from llm_aug.answers import say
from llm_aug.data import Dataset, read_split
from llm_aug.errors import InputError
from llm_aug.files import write_parquet
from llm_aug.merge import merge
from llm_aug.stage import Outcome
from recommender import make_student
from recommender.store import Stored, load, save

USERS_AT_ONCE = 1024
SCHEMA = pa.schema(
    [("user_id", pa.string()), ("item_id", pa.string()), ("rank", pa.int32()), ("score", pa.float32())]
)


def fit(split: Path, synthetic: Sequence[Path], student: str, options: Mapping[str, Any], seed: int) -> Dataset:
    raise NotImplementedError
