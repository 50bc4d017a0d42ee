"""What a training log says, as arrays: rows of users and of items in sorted order, and each user's events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from llm_aug.data import Dataset, Pair
from llm_aug.errors import InputError
from llm_aug.vectors import finite, unit

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
TIES = ["user_id", "timestamp", "item_id", "rating", "weight"]


@dataclass(frozen=True)
class Event:
    """item: its row in the catalogue. timestamp: seconds, None where the log has none. value: rating, else weight."""

    item: int
    timestamp: int | None
    rating: float | None
    value: float


@dataclass(frozen=True)
class Log:
    """Of a canonical dataset: users sorted, items in catalogue order."""

    dataset: Dataset

    @cached_property
    def items(self) -> list[str]:
        return list(self.dataset.items["item_id"])

    @cached_property
    def users(self) -> list[str]:
        return sorted(self.dataset.interactions["user_id"].unique())

    @cached_property
    def row(self) -> dict[str, int]:
        """Item id -> its row."""
        return {item: row for row, item in enumerate(self.items)}

    @cached_property
    def had(self) -> csr_matrix:
        """[users, items], 1.0 where the user has the item."""
        log, user = self.dataset.interactions, {user: row for row, user in enumerate(self.users)}
        places = log["user_id"].map(user).to_numpy(np.int64), log["item_id"].map(self.row).to_numpy(np.int64)
        found = csr_matrix((np.ones(len(log), np.float32), places), shape=(len(self.users), len(self.items)))
        found.data[:] = 1.0  # of a pair that stands twice, the sum
        return found

    @cached_property
    def counts(self) -> Ints:
        """Users of each item."""
        return np.asarray(self.had.getnnz(axis=0), dtype=np.int64)

    @cached_property
    def degrees(self) -> Ints:
        """Items of each user."""
        return np.asarray(self.had.getnnz(axis=1), dtype=np.int64)

    @cached_property
    def events(self) -> list[list[Event]]:
        """Of each user, oldest first."""
        log = self.dataset.interactions
        rows = zip(*(log[name] for name in ("user_id", "item_id", "timestamp", "rating", "weight")), strict=True)
        found: dict[str, list[Event]] = {user: [] for user in self.users}
        for user, item, time, rating, weight in rows:
            known = None if pd.isna(rating) else float(rating)
            when = None if pd.isna(time) else int(time)
            found[user].append(Event(self.row[item], when, known, float(weight) if known is None else known))
        return list(found.values())

    def profiles(self, vectors: Floats) -> Floats:
        """Unit means of the users' items' vectors: [users, dimensions]."""
        return unit(self.had @ vectors)


def canonical(dataset: Dataset) -> Dataset:
    """Items by id, rows by user, time and item: equal for whatever order they came in.

    Raises InputError where there are fewer than two items, or no interaction.
    """
    if len(dataset.items) < 2 or not len(dataset.interactions):
        have = f"{len(dataset.items)} items and {len(dataset.interactions)} interactions"
        raise InputError(f"a classic learns from two items at least and from a log; the training side has {have}")
    log = dataset.interactions.sort_values(TIES, na_position="first", kind="stable", ignore_index=True)
    return replace(dataset, items=dataset.items.sort_values("item_id", ignore_index=True), interactions=log)


def centred(vectors: Floats) -> Floats:
    """Unit rows of what tells the items apart: less the mean of those with a direction; zero for the others."""
    known = finite(vectors)
    found = np.zeros_like(vectors)
    if known.any():
        found[known] = unit(vectors[known] - vectors[known].mean(axis=0))
    return found


def nearest_warm(scores: NDArray[Any], warm: NDArray[np.bool_], itself: int) -> Ints:
    """Rows of the warm items, best score first, of equal ones the first; without the item itself."""
    order = np.argsort(-scores, kind="stable")
    found: Ints = order[warm[order] & (order != itself)]
    return found


def new_users(prefix: str, known: Sequence[str]) -> Iterator[str]:
    """prefix/0, prefix/1, ...: ids of invented users that nobody has."""
    taken = set(known)
    return (user for number in count() if (user := f"{prefix}/{number}") not in taken)


def history(log: Log, user: str, events: Sequence[Event]) -> tuple[Pair, ...]:
    """As pairs of the user, each a second later at least than the one before."""
    pairs: list[Pair] = []
    last: int | None = None
    for event in events:
        when = event.timestamp
        if when is not None:
            when = last = when if last is None else max(when, last + 1)
        pairs.append(Pair(user, log.items[event.item], when, event.rating))
    return tuple(pairs)
