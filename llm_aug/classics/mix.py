"""Mixing: new rows as combinations of real ones, for rare and cold items first.

items   SMOTE (Chawla et al. 2002, arXiv:1106.1813): an item's users by a convex combination of its neighbours' rows
labels  an item's text with the users of a similar item
users   mixup (Zhang et al. 2018, arXiv:1710.09412) of two users' histories, as an invented user's
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from llm_aug import seeds
from llm_aug.classics import Context, Made
from llm_aug.classics.budgets import rarest_first, shortfall
from llm_aug.classics.invented import Story, invent
from llm_aug.classics.log import Event, Floats, Ints, Log, centred, nearest_warm
from llm_aug.classics.making import pair_samples
from llm_aug.data import Dataset, Reject
from llm_aug.errors import InputError
from llm_aug.vectors import finite

Scores = NDArray[np.float64]
LEAST = 1e-6  # similarity: an item unlike all others still gets users


@dataclass(frozen=True)
class Mix:
    """neighbours: nearest warm items by text; twice as many, and so on, where those have too few users. alpha: of the
    Beta distribution of two users' shares. bins: of warm items by popularity, of which the rarest get pairs first.
    """

    STYLES: ClassVar = ("items", "labels", "users")
    style: str = "items"
    neighbours: int = 5
    alpha: float = 2.0
    bins: int = 4

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not self.alpha > 0 or self.bins < 1:
            raise InputError(f"mix: neighbours and bins are at least 1 and alpha is above 0, not {self}")

    def make(self, dataset: Dataset, context: Context) -> Made:
        """Reasons: no_text (nothing tells the neighbours), full (no user is left), and those of `invent`."""
        log = Log(dataset)
        return self._mixed(log, context) if self.style == "users" else self._synthesised(log, context)

    def _synthesised(self, log: Log, context: Context) -> Made:
        raw, stage = context.vectors(), f"mix/{self.style}"
        usable = finite(raw)
        vectors = np.where(usable[:, None], centred(raw), np.float32(0))
        warm, of_item = usable & (log.counts > 0), log.had.T.tocsr()
        reached = int((log.had @ warm.astype(np.float32) > 0).sum())
        shares = rarest_first(context.volume, log.counts, np.where(usable, reached - log.counts, 0), self.bins)
        pairs = []
        for row in np.flatnonzero(shares).tolist():
            random = seeds.generator(context.seed, stage, log.items[row])
            similar = vectors @ vectors[row]
            near = nearest_warm(similar, warm, row)
            for user, value in self._users(of_item, near, similar[near], row, int(shares[row]), random):
                pairs.append((log.users[user], log.items[row], value))
        silent = [Reject(log.items[row], stage, "no_text") for row in np.flatnonzero(~usable)]
        return Made(pair_samples(stage, pairs), [*silent, *shortfall(stage, context.volume, shares)])

    def _users(
        self, of_item: csr_matrix, near: Ints, similar: Floats, row: int, count: int, random: np.random.Generator
    ) -> list[tuple[int, float]]:
        """`count` users without the item, best first, each with a score. near: items from the most similar on."""
        own = of_item[row].indices
        score = combined if self.style == "items" else borrowed
        most = self.neighbours
        while True:
            value = score(of_item[near[:most]], np.maximum(similar[:most], LEAST), random)
            value[own] = 0.0
            order = np.argsort(-value, kind="stable")[:count]
            if value[order].all() or most >= len(near):
                return [(int(user), float(value[user])) for user in order if value[user] > 0]
            most *= 2

    def _mixed(self, log: Log, context: Context) -> Made:
        """Of either user a share of the events by chance, the shares a draw from Beta(alpha, alpha)."""
        if len(log.users) < 2:
            raise InputError("mix/users mixes two users' histories, and the log has one user")

        def tell(row: int, random: np.random.Generator) -> Story:
            other = (row + 1 + int(random.integers(len(log.users) - 1))) % len(log.users)
            share = float(random.beta(self.alpha, self.alpha))
            drawn = [*some(log.events[row], share, random), *some(log.events[other], 1 - share, random)]
            timed = all(event.timestamp is not None for _, event in drawn)
            drawn.sort(key=lambda pair: (pair[1].timestamp or 0) if timed else pair[0])
            events = {event.item: event for _, event in reversed(drawn)}  # of an item of both, the first
            return Story(list(events.values())[::-1], (log.users[row], log.users[other]))

        return invent("mix/users", log, context, tell)


def combined(rows: csr_matrix, similar: Floats, random: np.random.Generator) -> Scores:
    """A convex combination of the neighbours' rows [k, users], weights by similarity and chance: [users]."""
    weight = similar * random.uniform(LEAST, 1.0, size=len(similar))
    return np.asarray(rows.T @ (weight / weight.sum()), dtype=np.float64)


def borrowed(rows: csr_matrix, similar: Floats, random: np.random.Generator) -> Scores:
    """All users of one neighbour, drawn by similarity, then of the next: [users], falling from one to the other.

    Drawn without replacement by exponential keys (Efraimidis and Spirakis 2006).
    """
    order = np.argsort(random.exponential(size=len(similar)) / similar, kind="stable")
    found = np.zeros(rows.shape[1])
    for place, neighbour in reversed(list(enumerate(order.tolist()))):
        users = rows[neighbour].indices
        found[users] = (len(order) - place + random.random(len(users)) / 2) / len(order)
    return found


def some(events: Sequence[Event], share: float, random: np.random.Generator) -> list[tuple[float, Event]]:
    """The share of them, drawn, in order, each with its place in the history, 0 to 1."""
    places = sorted(random.permutation(len(events))[: round(share * len(events))].tolist())
    return [(place / len(events), events[place]) for place in places]
