"""Full rankings of held-out users, in three groups: cold, warm, and all.

Of a split that leaves items cold, the groups are items: cold ones, warm ones, the whole catalogue. Of one that leaves
users cold, they are users: cold ones, the others, everyone, each with the whole catalogue.
"""

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
class Group:
    """Whose lists are ranked, bool [users], and which items compete in them, bool [items]."""

    users: NDArray[np.bool_]
    items: NDArray[np.bool_]


@dataclass(frozen=True)
class Held:
    """relevant, seen: bool [users, items].

    Items that a user has seen never compete, and so are not relevant to him (a foreign split may hold such rows).
    """

    users: Sequence[str]
    relevant: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    groups: Mapping[str, Group]


def held_out(split: Split, part: str) -> Held:
    """part: 'validation' (seen: train) or 'test' (seen: train and validation). users: those with held-out rows.

    What was withheld of cold users counts as seen: it is neither revealed nor asked for.
    """
    rows = split.validation if part == "validation" else split.test
    seen = pd.concat([split.train, split.withheld, *([] if part == "validation" else [split.validation])])
    users, items = pd.Index(sorted(rows["user_id"].unique())), pd.Index(split.items["item_id"])
    known = pairs_matrix(seen, users, items).toarray() > 0
    return Held(
        users=list(users),
        relevant=(pairs_matrix(rows, users, items).toarray() > 0) & ~known,
        seen=known,
        groups=_groups(split, users, items),
    )


def _groups(split: Split, users: pd.Index, items: pd.Index) -> dict[str, Group]:
    everyone, everything = np.ones(len(users), dtype=bool), np.ones(len(items), dtype=bool)
    overall = Group(everyone, everything)
    if split.by_users:
        cold = np.asarray(users.isin(split.cold_users))
        return {"cold": Group(cold, everything), "warm": Group(~cold, everything), "overall": overall}
    masks = {"cold": items.isin(split.cold_items), "warm": items.isin(split.train["item_id"])}
    return {**{name: Group(everyone, np.asarray(mask)) for name, mask in masks.items()}, "overall": overall}


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
            chosen = held.groups[group]
            relevant = held.relevant[part] & chosen.items & chosen.users[part][:, None]
            some = relevant.any(axis=1)
            if not some.any():
                continue
            ties = seeds.generator(seed, "ties", group, start)
            ranked = rank(scores[some], chosen.items & ~held.seen[part][some], max(ks), ties)
            hits = np.take_along_axis(relevant[some], ranked, axis=1) & (ranked >= 0)
            counts = relevant[some].sum(axis=1)
            values = {f"{name}@{k}": metric(hits, counts, k) for name, metric in METRICS.items() for k in ks}
            frames.append(pd.DataFrame({"group": group, "user_id": np.array(users, dtype=object)[some], **values}))
    columns = ["group", "user_id", *(f"{name}@{k}" for name in METRICS for k in ks)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
