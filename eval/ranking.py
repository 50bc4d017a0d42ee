"""Full rankings of held-out users, in three groups: cold, warm, and all.

Of a split that leaves items cold, the groups are items: cold ones, warm ones, the whole catalogue. Of one that leaves
users cold, they are users: cold ones, the others, everyone, each with the whole catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from eval.metrics import AUC, METRICS, Mask, Ranked, Scores, measure
from llm_aug import seeds
from llm_aug.data import Split
from recommender.matrix import pairs_matrix

Cells = TypeVar("Cells", Scores, Mask)
GROUPS = ("cold", "warm", "overall")
USERS_AT_ONCE = 256  # with 100,000 items a ranking of them takes half a gigabyte


class Scorer(Protocol):
    """What can be ranked: a Recommender, or scores from elsewhere."""

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        """Higher is better: [len(users), items in catalogue order]. An unknown user gets finite scores, too."""


@dataclass(frozen=True)
class Group:
    """Whose lists are ranked, bool [users], and which items compete in them, bool [items]."""

    users: NDArray[np.bool_]
    items: NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Bool [users, items], kept sparse; the rows that are asked for come dense."""

    matrix: csr_matrix

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[np.integer[Any] | np.bool_]) -> Mask:
        return np.asarray(self.matrix[rows].toarray())


@dataclass(frozen=True)
class Held:
    """relevant, seen: [users, items].

    Items that a user has seen never compete, and so are not relevant to him (a foreign split may hold such rows).
    """

    users: Sequence[str]
    relevant: Pairs
    seen: Pairs
    groups: Mapping[str, Group]


@dataclass(frozen=True)
class Lists:
    """What a model shows to the users of a group who have something to find there.

    users: rows of Held [n]. items: catalogue rows, best first, -1 where there are fewer [n, depth].
    """

    users: NDArray[np.int64]
    items: Ranked


def held_out(split: Split, part: str) -> Held:
    """part: 'validation' (seen: train) or 'test' (seen: train and validation). users: those with held-out rows.

    What was withheld of cold users counts as seen: it is neither revealed nor asked for.
    """
    rows = split.validation if part == "validation" else split.test
    seen = pd.concat([split.train, split.withheld, *([] if part == "validation" else [split.validation])])
    users, items = pd.Index(sorted(rows["user_id"].unique())), pd.Index(split.items["item_id"])
    wanted, known = (pairs_matrix(part, users, items).astype(bool) for part in (rows, seen))
    return Held(
        users=list(users),
        relevant=Pairs(csr_matrix(wanted > known)),
        seen=Pairs(known),
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


def per_user(model: Scorer, held: Held, ks: Sequence[int], seed: int, groups: Sequence[str] = GROUPS) -> pd.DataFrame:
    """A row per group and user with a relevant item in it: group, user_id, ndcg@10, ..., auc.

    Ties come in an order of the seed, the group and the user alone.
    """
    return per_user_and_lists(model, held, ks, seed, groups)[0]


def per_user_and_lists(
    model: Scorer, held: Held, ks: Sequence[int], seed: int, groups: Sequence[str] = GROUPS
) -> tuple[pd.DataFrame, dict[str, Lists]]:
    """What `per_user` returns, and the lists of max(ks) items it was measured on; a group without rows has no lists."""
    frames = []
    parts: dict[str, list[Lists]] = {}
    for start in range(0, len(held.users), USERS_AT_ONCE):
        part = slice(start, start + USERS_AT_ONCE)
        users = np.array(held.users[part], dtype=object)
        scores, wanted, unseen = model.scores(held.users[part]), held.relevant[part], ~held.seen[part]
        for group in groups:
            chosen = held.groups[group]
            some = (wanted & chosen.items).any(axis=1) & chosen.users[part]
            if not some.any():
                continue
            keys = np.array([seeds.derive(seed, "ties", group, user) for user in users[some]], dtype=np.uint64)
            candidates, relevant = (_cut(mask, some, chosen.items) for mask in (unseen, wanted))
            ranked, values = measure(_cut(scores, some, chosen.items), candidates, relevant, ks, keys)
            catalogue = np.append(np.flatnonzero(chosen.items), -1).astype(np.int32)
            parts.setdefault(group, []).append(Lists(start + np.flatnonzero(some), catalogue[ranked]))
            frames.append(pd.DataFrame({"group": group, "user_id": users[some], **values}))
    columns = ["group", "user_id", *(f"{name}@{k}" for name in METRICS for k in ks), AUC]
    rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    return rows, {group: _joined(lists) for group, lists in parts.items()}


def _cut(matrix: Cells, users: Mask, items: Mask) -> Cells:
    """Rows of users and columns of items, both bool; no copy where all of them are in."""
    rows = matrix if users.all() else matrix[users]
    return rows if items.all() else rows[:, np.flatnonzero(items)]


def _joined(parts: Sequence[Lists]) -> Lists:
    return Lists(np.concatenate([one.users for one in parts]), np.concatenate([one.items for one in parts]))
