"""Mixing: new rows as combinations of real ones, for what is cold or rare first.

items   SMOTE (Chawla et al. 2002, arXiv:1106.1813): an item's users by a convex combination of its neighbours' vectors
        of interactions, the rows of the log over users
labels  an item's text with the users of a similar item
users   mixup (Zhang et al. 2018, arXiv:1710.09412) of a user's history with those of the users nearest to him: he keeps
        his own events and gets some of theirs, with their times and ratings
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import inf
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from llm_aug import seeds
from llm_aug.classics import Context, Made
from llm_aug.classics.budgets import rarest_first, shortfall
from llm_aug.classics.choice import Added, asked_of, extensions, strangers
from llm_aug.classics.log import Event, Floats, Ints, Log, centred, history, nearest_warm
from llm_aug.classics.making import pair_samples
from llm_aug.data import Dataset, Reject
from llm_aug.errors import InputError
from llm_aug.vectors import finite

Scores = NDArray[np.float64]
LEAST = 1e-6  # similarity: an item unlike all others still gets users


@dataclass(frozen=True)
class Mix:
    """neighbours: nearest warm items by text, or users by the cosine of their rows; more where those have too few.
    alpha: of the Beta distribution of the share that a user gets of another's history. bins: of warm items by
    popularity, or of users by their number of items, of which the rarest get pairs first.
    """

    STYLES: ClassVar = ("items", "labels", "users")
    style: str = "items"
    neighbours: int = 5
    alpha: float = 2.0
    bins: int = 4

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not 0 < self.alpha < inf or self.bins < 1:
            raise InputError(f"mix: neighbours and bins are at least 1 and alpha is above 0 and finite, not {self}")

    def make(self, dataset: Dataset, context: Context) -> Made:
        """Reasons: no_text (nothing tells the neighbours), no_history (nor the user's), full (nothing new is left)."""
        log = Log(dataset)
        return self._extended(log, context) if self.style == "users" else self._synthesised(log, context)

    def _synthesised(self, log: Log, context: Context) -> Made:
        raw, stage = context.vectors(), f"mix/{self.style}"
        usable, vectors = finite(raw), centred(raw)
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
        return Made(pair_samples(stage, pairs), [*silent, *shortfall(stage, context.volume, int(shares.sum()))])

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

    def _extended(self, log: Log, context: Context) -> Made:
        """Of users that the context tells of, as many events as it says; else of those with the fewest items first."""
        if len(log.users) < 2:
            raise InputError("mix/users mixes two users' histories, and the log has one user")
        stage, room = "mix/users", int((log.counts > 0).sum()) - log.degrees
        told = asked_of(log.users, room, context)
        shares = told if context.users else rarest_first(context.volume, log.degrees, room, self.bins)
        rows, added = unit_rows(log.had), []
        for row in np.flatnonzero(shares).tolist():
            random = seeds.generator(context.seed, stage, log.users[row])
            similar = np.asarray((rows @ rows[row].T).todense(), dtype=np.float32).ravel()
            near = np.argsort(-similar, kind="stable")
            offers = self._offers(log, row, near[near != row], similar, random)
            taken = list(islice(offers, int(shares[row])))
            events = [event for _, event in taken]
            if all(event.timestamp is not None for event in events):
                events.sort(key=lambda event: event.timestamp or 0)
            parents = tuple(log.users[one] for one in dict.fromkeys([row, *(other for other, _ in taken)]))
            score = float(np.mean([similar[other] for other, _ in taken]))
            added.append(Added(history(log, log.users[row], events), score, parents))
        rejects = [*strangers(stage, log, context), *shortfall(stage, context.volume, int(shares.sum()))]
        return Made(extensions(stage, added), rejects)

    def _offers(
        self, log: Log, row: int, near: Ints, similar: Floats, random: np.random.Generator
    ) -> Iterator[tuple[int, Event]]:
        """(user, event) of items that the user lacks: of each neighbour, in an order drawn by similarity, a share from
        Beta(alpha, alpha), then their other events, then those of users further off."""
        close = near[: self.neighbours][drawn(np.maximum(similar[near[: self.neighbours]], LEAST), random)].tolist()
        known = {event.item for event in log.events[row]}
        shares = random.beta(self.alpha, self.alpha, size=len(close)).tolist()
        firsts = [(other, some(log.events[other], share, random)) for other, share in zip(close, shares, strict=True)]
        rest = ((other, log.events[other]) for other in (*close, *near[self.neighbours :].tolist()))
        for other, events in chain(firsts, rest):
            for event in events:
                if event.item not in known:
                    known.add(event.item)
                    yield other, event


def combined(rows: csr_matrix, similar: Floats, random: np.random.Generator) -> Scores:
    """A convex combination of the neighbours' rows [k, users], weights by similarity and chance: [users]."""
    weight = similar * random.uniform(LEAST, 1.0, size=len(similar))
    return np.asarray(rows.T @ (weight / weight.sum()), dtype=np.float64)


def borrowed(rows: csr_matrix, similar: Floats, random: np.random.Generator) -> Scores:
    """All users of one neighbour, drawn by similarity, then of the next: [users], falling from one to the other."""
    order = drawn(similar, random)
    found = np.zeros(rows.shape[1])
    for place, neighbour in reversed(list(enumerate(order.tolist()))):
        users = rows[neighbour].indices
        found[users] = (len(order) - place + random.random(len(users)) / 2) / len(order)
    return found


def drawn(similar: Floats, random: np.random.Generator) -> Ints:
    """Places in an order drawn by similarity, without replacement (exponential keys: Efraimidis and Spirakis 2006)."""
    return np.argsort(random.exponential(size=len(similar)) / similar, kind="stable")


def some(events: Sequence[Event], share: float, random: np.random.Generator) -> list[Event]:
    """The share of them, drawn, in order."""
    places = sorted(random.permutation(len(events))[: round(share * len(events))].tolist())
    return [events[place] for place in places]


def unit_rows(had: csr_matrix) -> csr_matrix:
    """Of length 1: [users, items]."""
    return csr_matrix(diags(1 / np.sqrt(had.getnnz(axis=1))) @ had)
