"""A single recommender: fitted on real data and samples and kept on disk, then asked for its lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from eval.arguments import checked_students
from eval.arms import read_arm
from eval.metrics import rank
from llm_aug import seeds
from llm_aug.answers import say
from llm_aug.data import read_split
from llm_aug.files import write_parquet
from llm_aug.merge import merge
from llm_aug.stage import Outcome, check
from recommender import make_student
from recommender.store import Stored, load, save

USERS_AT_ONCE = 1024
SCHEMA = pa.schema([("user_id", pa.string()), ("item_id", pa.string()), ("rank", pa.int32()), ("score", pa.float32())])


def fit_and_save(
    split: Path, synthetic: Sequence[Path], student: str, options: Mapping[str, Any], seed: int, output: Path
) -> Outcome:
    """Raises InputError for an unknown student or option, and for samples that were made from another split."""
    options = checked_students({student: options})[student]
    found = read_split(split)
    samples = [sample for path in synthetic for sample in read_arm("synthetic", path, found).samples]
    dataset = merge(found.training, samples)
    save(output, student, make_student(student, dict(options), seed).fit(dataset), dataset, found.hash)
    counts = {"real": len(found.train), "synthetic": len(dataset.interactions) - len(found.train)}
    texts = sum(sample.kind == "description" for sample in samples)
    line = f"{student} on {counts['real']} real + {counts['synthetic']} synthetic pairs and {texts} texts"
    return Outcome(line, {**counts, "texts": texts})


def write_lists(model: Path, users: Sequence[str], k: int, output: Path) -> None:
    """The k best unseen items of each user (of all known ones where none is named), ties in a seeded order."""
    check(model)
    stored = load(model)
    unknown = sorted(set(users) - set(stored.seen.users))
    if unknown:
        say(f"{len(unknown)} users have no training row, so their lists are not their own, e.g. {unknown[0]!r}")
    everyone = list(dict.fromkeys(users)) or list(stored.seen.users)
    blocks = [everyone[start : start + USERS_AT_ONCE] for start in range(0, len(everyone), USERS_AT_ONCE)]
    write_parquet(output, pa.concat_tables([_lists(stored, block, k) for block in blocks]))


def _lists(stored: Stored, users: Sequence[str], k: int) -> pa.Table:
    scores = stored.model.scores(users)
    unseen = stored.seen.rows(users).toarray() == 0
    ranked = rank(scores, unseen, min(k, scores.shape[1]), seeds.generator(0, "recommend", users[0]))
    row, place = np.nonzero(ranked >= 0)
    item = ranked[row, place]
    columns = [
        np.asarray(users, dtype=object)[row],
        np.asarray(stored.seen.items, dtype=object)[item],
        (place + 1).astype(np.int32),
        scores[row, item].astype(np.float32),
    ]
    return pa.table([pa.array(column) for column in columns], schema=SCHEMA)
