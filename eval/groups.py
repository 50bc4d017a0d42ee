"""Lists for groups: python -m eval.groups SPLIT --student ease

Groups are synthetic: users with held-out rows, two to eight of them, of like histories or drawn at random. What every
member has had never competes. An item is relevant when it is held out of at least one member (any), or of all (all; a
group without such an item has no value). One row of the table:

{"groups": "similar", "how": "mean", "relevant": "any", "ndcg@20": 0.21, "low": 0.19, "high": 0.23, "counted": 200}
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from eval.arguments import parse_students
from eval.metrics import ndcg, rank
from eval.ranking import Held, held_out
from eval.stats import bootstrap
from llm_aug import seeds
from llm_aug.data import Split
from llm_aug.errors import InputError, LlmAugError
from llm_aug.splits import read_split
from llm_aug.vectors import unit
from recommender import Recommender, make_student
from recommender.features import dense_vectors, mean_rows
from recommender.group import ATTENTION, PLAIN, aggregate, group_similarity, item_similarity
from recommender.matrix import to_log

KINDS = ("similar", "random")
WAYS = (*PLAIN, "attention to items", "attention to the group")
RELEVANT = ("any", "all")
SMALLEST, LARGEST, K = 2, 8, 20

Rows = NDArray[np.float32]
Members = list[NDArray[np.int64]]


def draw_groups(histories: csr_matrix, kind: str, count: int, seed: int = 0) -> Members:
    """Row numbers of each group's members, SMALLEST to LARGEST of them as far as there are users.

    similar: a drawn user and those with the nearest histories (cosine of rows [users, items], a lower row first among
    equals). random: all drawn. Groups may share users. Raises InputError where there are too few users.
    """
    users = histories.shape[0]
    if users < SMALLEST:
        raise InputError(f"groups need {SMALLEST} users with held-out rows at least, there are {users}")
    random = seeds.generator(seed, "groups", kind)
    groups: Members = []
    for _ in range(count):
        size = min(int(random.integers(SMALLEST, LARGEST + 1)), users)
        drawn = random.choice(users, size, replace=False)
        if kind == "similar":
            drawn = _nearest(histories, int(drawn[0]), size)
        groups.append(np.asarray(drawn, dtype=np.int64))
    return groups


def _nearest(histories: csr_matrix, user: int, size: int) -> NDArray[np.int64]:
    shared = np.asarray((histories @ histories[user].T).todense()).ravel()
    lengths = np.sqrt(np.asarray(histories.multiply(histories).sum(axis=1)).ravel())
    cosine = np.divide(shared, lengths, out=np.zeros(len(shared)), where=lengths > 0)
    cosine[user] = np.inf
    return np.argsort(-cosine, kind="stable")[:size]


def group_scores(scores: Rows, profiles: Rows, items: Rows, way: str) -> Rows:
    """[items], one of WAYS. scores: [members, items]; profiles: [members, d]; items: [items, d]."""
    if way in PLAIN:
        return aggregate(scores, way)
    to_items = way == "attention to items"
    return aggregate(scores, ATTENTION, item_similarity(profiles, items) if to_items else group_similarity(profiles))


def evaluate_groups(
    model: Recommender, split: Split, vectors: Rows, count: int = 200, seed: int = 0, part: str = "test"
) -> pd.DataFrame:
    """A row per kind of group, way and relevance, as at the top. vectors: [items, d], where profiles are compared.

    Intervals are of a bootstrap over groups.
    """
    held = held_out(split, part)
    log = to_log(split.training)
    histories = log.rows(held.users)
    profiles = np.asarray(mean_rows(histories) @ vectors, dtype=np.float32)
    rows = []
    for kind in KINDS:
        groups = draw_groups(histories, kind, count, seed)
        values = _values(model, held, groups, profiles, unit(vectors), seed)
        for (way, relevant), found in values.items():
            interval = bootstrap(found[None], seed=seed)
            row = {"groups": kind, "how": way, "relevant": relevant, f"ndcg@{K}": interval.mean}
            rows.append({**row, "low": interval.low, "high": interval.high, "counted": int((~np.isnan(found)).sum())})
    return pd.DataFrame(rows)


def _values(
    model: Recommender, held: Held, groups: Members, profiles: Rows, items: Rows, seed: int
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """NDCG@K of each group by way and relevance; NaN where a group has no relevant item."""
    values = {(way, what): np.full(len(groups), np.nan) for way in WAYS for what in RELEVANT}
    for number, members in enumerate(groups):
        scores = model.scores([held.users[member] for member in members])
        candidates = ~np.logical_or.reduce(held.seen[members])
        wanted = {
            "any": candidates & np.logical_or.reduce(held.relevant[members]),
            "all": candidates & np.logical_and.reduce(held.relevant[members]),
        }
        for way in WAYS:
            one = group_scores(scores, profiles[members], items, way)
            ranked = rank(one[None], candidates[None], K, seeds.generator(seed, "ties", number))
            for what, relevant in wanted.items():
                if relevant.any():
                    hits = relevant[ranked] & (ranked >= 0)
                    values[way, what][number] = ndcg(hits, np.array([relevant.sum()]), K)[0]
    return values


def table(rows: pd.DataFrame) -> str:
    """For a reader: the ways below each other, kinds and relevance beside each other."""
    cells = {
        (row["how"], f"{row['groups']}, {row['relevant']} (n={row['counted']})"): (
            f"{row[f'ndcg@{K}']:.4f} [{row['low']:.4f}, {row['high']:.4f}]" if row["counted"] else "-"
        )
        for row in rows.to_dict("records")
    }
    columns = list(dict.fromkeys(column for _, column in cells))
    lines = [f"{f'NDCG@{K}':24}" + "".join(f"{column:>28}" for column in columns)]
    lines += [f"{way:24}" + "".join(f"{cells[way, column]:>28}" for column in columns) for way in WAYS]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.groups", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("split", type=Path)
    parser.add_argument("--student", default="ease", metavar="NAME[:KEY=VALUE,...]")
    parser.add_argument("--encoder", default="minilm", help="of the profiles that attention compares")
    parser.add_argument("--groups", type=int, default=200, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        split = read_split(given.split)
        ((name, options),) = parse_students([given.student]).items()
        model = make_student(name, options, given.seed).fit(split.training)
        vectors = dense_vectors(split.training, given.encoder)
        rows = evaluate_groups(model, split, vectors, given.groups, given.seed, given.part)
    except LlmAugError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    found: list[dict[str, Any]] = rows.astype(object).where(rows.notna(), None).to_dict("records")
    sys.stdout.write(json.dumps(found, indent=1) + "\n" if given.json else table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
