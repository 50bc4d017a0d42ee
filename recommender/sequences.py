"""Histories in the order of time, cut into stretches of one length for models that read them in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_aug import seeds
from llm_aug.data import Dataset


@dataclass(frozen=True)
class Windows:
    """Stretches of histories, each begun at the left: [windows, length] both; a weight of zero is no entry.

    items: places in the catalogue; one past its end is the start of a history.
    """

    items: NDArray[np.int64]
    weights: NDArray[np.float32]

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> Windows:
        return Windows(self.items[rows], self.weights[rows])


@dataclass(frozen=True)
class History:
    """A user's items in order and their weights, after the start: [n + 1] both, fewer of a stretch."""

    items: NDArray[np.int64]
    weights: NDArray[np.float32]

    def __getitem__(self, places: slice) -> History:
        return History(self.items[places], self.weights[places])


def histories(dataset: Dataset, users: pd.Index, items: pd.Index, seed: int) -> list[History]:
    """In the order of users, and one without rows at the end. A repeated pair counts once: the heaviest row, then the
    first in time."""
    rows = dataset.interactions
    rows = rows[(rows["weight"] > 0) & rows["item_id"].isin(items)]
    rows = rows.sort_values(["user_id", "item_id", "weight", "timestamp"], ascending=[True, True, False, True])
    rows = rows.drop_duplicates(["user_id", "item_id"])
    place = rows.groupby("user_id")["timestamp"].rank(pct=True).to_numpy(dtype=float, na_value=np.nan)
    for at in np.flatnonzero(np.isnan(place)):
        user, item = rows["user_id"].iloc[at], rows["item_id"].iloc[at]
        place[at] = seeds.derive(seed, "order", user, item) / 2**63
    user_rows, item_rows = users.get_indexer(pd.Index(rows["user_id"])), items.get_indexer(pd.Index(rows["item_id"]))
    order = np.lexsort((place, user_rows))  # stable: rows of equal time stay in the order of ids
    ends = np.searchsorted(user_rows[order], np.arange(len(users) + 1), side="right")
    weights = rows["weight"].to_numpy(dtype=np.float32)
    own = [order[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    return [
        History(np.append(len(items), item_rows[at]), np.append(np.float32(1), weights[at]).astype(np.float32))
        for at in own
    ]


def windows(stretches: Sequence[History], length: int) -> Windows:
    items = np.zeros((len(stretches), length), dtype=np.int64)
    weights = np.zeros((len(stretches), length), dtype=np.float32)
    for row, stretch in enumerate(stretches):
        items[row, : len(stretch.items)], weights[row, : len(stretch.items)] = stretch.items, stretch.weights
    return Windows(items, weights)


def steps(entire: Sequence[History], length: int) -> list[tuple[History, History]]:
    """Inputs, and the targets that follow each of them, cut from the end into stretches of at most `length`."""
    return [
        (one[max(end - length, 0) : end], one[max(end - length, 0) + 1 : end + 1])
        for one in entire
        for end in range(len(one.items) - 1, 0, -length)
    ]
