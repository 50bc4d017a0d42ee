"""From a network's scores to samples: an equal share of pairs for each cold item, or for each user, the best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from llm_aug.classics import Context, Made
from llm_aug.classics.budgets import even, shortfall
from llm_aug.classics.log import Floats, Ints, Log
from llm_aug.classics.making import pair_samples
from llm_aug.data import Origin, Pair, Reject, Sample
from llm_aug.errors import InputError
from llm_aug.grade import weights

EVENTS = 5  # for a user whom nothing gives a number: as many as a history is asked for by default


def cold_items(log: Log) -> Ints:
    """Rows of the items without an interaction. Raises InputError where there is none."""
    cold = np.flatnonzero(log.counts == 0)
    if not len(cold):
        raise InputError("every item has interactions, so there is no cold item to make pairs for; use style histories")
    return cold


def extended_users(log: Log, most: int, told: Mapping[str, int]) -> Ints:
    """Rows of the users that are told of and in the log; where none is told of, of those with at most `most` items.

    Raises InputError where there is none.
    """
    some = np.isin(log.users, list(told)) if told else log.degrees <= most
    if not some.any():
        why = "none of the users to extend has a history" if told else f"no user has {most} items or fewer"
        raise InputError(f"{why} (the fewest are {log.degrees.min()}); raise users_with_at_most")
    return np.flatnonzero(some)


def told_of(stage: str, names: Sequence[str], rows: Ints, told: NDArray[np.bool_]) -> tuple[Ints, list[Reject]]:
    """Those of the rows of which a text tells, and a reject for each of the others."""
    return rows[told[rows]], [Reject(names[row], stage, "no_text") for row in rows[~told[rows]]]


def pairs_of_items(stage: str, log: Log, items: Ints, scores: Floats, context: Context) -> Made:
    """A sample per pair, its weight by the score. scores: [items, users], not below zero where it is to weigh."""
    shares = even(context.volume, np.full(len(items), scores.shape[1], dtype=np.int64))
    pairs = [
        (log.users[user], log.items[item], float(row[user]))
        for item, row, users in zip(items, scores, _best(scores, shares), strict=True)
        for user in users
    ]
    return Made(pair_samples(stage, pairs), shortfall(stage, context.volume, int(shares.sum())))


def more_of_users(stage: str, log: Log, users: Ints, scores: Floats, context: Context) -> Made:
    """A sample per user of items that he does not have: see `extensions`.

    scores: [users, items], NaN for what cannot be chosen.
    """
    new = np.where(log.had[users].toarray() > 0, np.nan, scores)
    room = np.isfinite(new).sum(axis=1)
    names = [log.users[row] for row in users]
    shares = asked_of(names, room, context) if context.users else even(context.volume, np.minimum(room, EVENTS))
    found = [(name, row, some) for name, row, some in zip(names, new, _best(new, shares), strict=True) if len(some)]
    added = [
        Added(tuple(Pair(name, log.items[item]) for item in some), float(row[some].mean())) for name, row, some in found
    ]
    rejects = [*strangers(stage, log, context), *shortfall(stage, context.volume, int(shares.sum()))]
    return Made(extensions(stage, added), rejects)


def asked_of(names: Sequence[str], room: Ints, context: Context) -> Ints:
    """The pairs of each user that the context tells of, as far as there is room."""
    return np.minimum(np.array([context.users.get(name, 0) for name in names], dtype=np.int64), room)


def strangers(stage: str, log: Log, context: Context) -> list[Reject]:
    """Users that the context tells of and the log does not."""
    return [Reject(user, stage, "no_history") for user in sorted(set(context.users) - set(log.users))]


@dataclass(frozen=True)
class Added:
    """What one user gets. parents: others whom it is made of."""

    pairs: tuple[Pair, ...]
    score: float
    parents: tuple[str, ...] = ()


def extensions(stage: str, added: Sequence[Added]) -> list[Sample]:
    """A history sample per user, its weight in (0, 1] by the score: see `grade.weights`."""
    value = weights(np.maximum(0.0, np.array([one.score for one in added], dtype=np.float64)))
    users = [one.pairs[0].user_id for one in added]
    return [
        Sample(
            f"{stage}/{quote(user, safe='')}",
            "history",
            user,
            None,
            one.pairs,
            float(weight),
            Origin("", parents=one.parents),
        )
        for user, one, weight in zip(users, added, value, strict=True)
    ]


def _best(scores: Floats, shares: Ints) -> Sequence[NDArray[np.int64]]:
    """The `shares` highest of each row, best first, of equal ones the first; NaN comes last."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return [row[:share] for row, share in zip(order, shares, strict=True)]
