"""A single recommender: fitted on real data and samples and kept on disk, then asked for its lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from eval.arguments import checked_students
from eval.arms import read_arm
from eval.metrics import rank_by_key
from llm_aug import processes, seeds
from llm_aug.answers import say
from llm_aug.files import write_parquet
from llm_aug.merge import merge
from llm_aug.sources.events import read_histories
from llm_aug.splits import read_split
from llm_aug.stage import Outcome, check
from recommender import make_student
from recommender.live import fold_in, history_rows
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
    fitted = make_student(student, dict(options), seed).fit(dataset)
    if processes.rank() == 0:
        save(output, student, fitted, dataset, found.hash)
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
    tables = [_lists(stored, one, stored.model.scores(one), stored.seen.rows(one), k) for one in _blocks(everyone)]
    write_parquet(output, pa.concat_tables(tables))


def write_lists_of_events(model: Path, events: Path, k: int, output: Path) -> None:
    """The k best items that each user of a file has not had, by his events in it; nothing is fitted again.

    events: parquet, csv, ... of user_id, item_id[, timestamp]; without times, in the order of its rows. Raises
    InputError for a file of anything else, and for a student that only knows the users of its training.
    """
    check(model)
    stored = load(model)
    histories = _known_histories(events, stored.seen.items)
    logged = set(histories) & set(stored.seen.users)
    if logged:
        say(f"{len(logged)} users are in the training, too; their lists come of {events} alone, e.g. {min(logged)!r}")
    tables = []
    for users in _blocks(list(histories)):
        block = [histories[user] for user in users]
        seen = history_rows(block, stored.seen.items) + stored.seen.rows(users)
        tables.append(_lists(stored, users, fold_in(stored.model, block), seen, k))
    write_parquet(output, pa.concat_tables(tables))


def _known_histories(path: Path, items: pd.Index) -> dict[str, list[str]]:
    """Each user's items of the catalogue, oldest first; a user of none of them has an empty history."""
    histories, known = read_histories(path), set(items)
    strange = sorted({item for history in histories.values() for item in history} - known)
    if strange:
        say(f"{len(strange)} items of {path} are not in the model's catalogue and left out, e.g. {strange[0]!r}")
    return {user: [item for item in history if item in known] for user, history in histories.items()}


def _blocks(users: Sequence[str]) -> list[Sequence[str]]:
    return [users[start : start + USERS_AT_ONCE] for start in range(0, len(users), USERS_AT_ONCE)]


def _lists(stored: Stored, users: Sequence[str], scores: NDArray[np.float32], seen: csr_matrix, k: int) -> pa.Table:
    unseen = seen.toarray() == 0
    keys = np.array([seeds.derive(0, "recommend", user) for user in users], dtype=np.uint64)
    ranked = rank_by_key(scores, unseen, min(k, scores.shape[1]), keys)
    row, place = np.nonzero(ranked >= 0)
    item = ranked[row, place]
    columns = [
        np.asarray(users, dtype=object)[row],
        np.asarray(stored.seen.items, dtype=object)[item],
        (place + 1).astype(np.int32),
        scores[row, item].astype(np.float32),
    ]
    return pa.table([pa.array(column) for column in columns], schema=SCHEMA)
