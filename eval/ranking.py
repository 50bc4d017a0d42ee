"""Full rankings of held-out users, in three groups: cold items, warm items, and the whole catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.metrics import METRICS, rank
from llm_aug import seeds
from llm_aug.data import Split
from recommender import Recommender
from recommender.matrix import pairs_matrix

GROUPS = ("cold", "warm", "overall")
USERS_AT_ONCE = 256  # with 100,000 items a ranking of them takes half a gigabyte


@dataclass(frozen=True)
class Held:
    """relevant, seen: bool [users, items]. groups: the candidates and relevant items of each group, bool [items].

    In 'cold' only cold items compete, in 'warm' only those with a training row, in 'overall' the whole catalogue; items
    that a user has seen never do, and so are not relevant to him either (a foreign split may hold such rows).
    """

    users: Sequence[str]
    relevant: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    groups: Mapping[str, NDArray[np.bool_]]


def held_out(split: Split, part: str) -> Held:
    """part: 'validation' (seen: train) or 'test' (seen: train and validation). users: those with held-out rows."""
    rows = split.validation if part == "validation" else split.test
    seen = split.train if part == "validation" else pd.concat([split.train, split.validation])
    users, items = pd.Index(sorted(rows["user_id"].unique())), pd.Index(split.items["item_id"])
    known = pairs_matrix(seen, users, items).toarray() > 0
    return Held(
        users=list(users),
        relevant=(pairs_matrix(rows, users, items).toarray() > 0) & ~known,
        seen=known,
        groups={
            "cold": np.asarray(items.isin(split.cold_items)),
            "warm": np.asarray(items.isin(split.train["item_id"])),
            "overall": np.ones(len(items), dtype=bool),
        },
    )


def per_user(
    model: Recommender, held: Held, ks: Sequence[int], seed: int, groups: Sequence[str] = GROUPS
) -> pd.DataFrame:
    """A row per group and user with a relevant item in it: group, user_id, ndcg@10, ... Ties in a seeded order."""
    frames = []
    for start in range(0, len(held.users), USERS_AT_ONCE):
        part = slice(start, start + USERS_AT_ONCE)
        users = held.users[part]
        scores = model.scores(users)
        for group in groups:
            relevant = held.relevant[part] & held.groups[group]
            some = relevant.any(axis=1)
            if not some.any():
                continue
            ties = seeds.generator(seed, "ties", group, start)
            ranked = rank(scores[some], held.groups[group] & ~held.seen[part][some], max(ks), ties)
            hits = np.take_along_axis(relevant[some], ranked, axis=1) & (ranked >= 0)
            counts = relevant[some].sum(axis=1)
            values = {f"{name}@{k}": metric(hits, counts, k) for name, metric in METRICS.items() for k in ks}
            frames.append(pd.DataFrame({"group": group, "user_id": np.array(users, dtype=object)[some], **values}))
    columns = ["group", "user_id", *(f"{name}@{k}" for name in METRICS for k in ks)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
