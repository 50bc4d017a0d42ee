"""From a network's scores to samples: an equal share of pairs for each cold item, or for each user, the best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from llm_aug.classics import Context, Made
from llm_aug.classics.budgets import even, shortfall
from llm_aug.classics.log import Floats, Ints, Log
from llm_aug.classics.making import pair_samples
from llm_aug.data import Pair, Reject, Sample
from llm_aug.errors import InputError
from llm_aug.grade import weights


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


def pairs_of_items(stage: str, log: Log, items: Ints, scores: Floats, context: Context) -> Made:
    """A sample per pair, its weight by the score. scores: [items, users], not below zero where it is to weigh."""
    shares = even(context.volume, np.full(len(items), scores.shape[1], dtype=np.int64))
    pairs = [
        (log.users[user], log.items[item], float(row[user]))
        for item, row, users in zip(items, scores, _best(scores, shares), strict=True)
        for user in users
    ]
    return Made(pair_samples(stage, pairs), shortfall(stage, context.volume, shares))


def more_of_users(stage: str, log: Log, users: Ints, scores: Floats, context: Context) -> Made:
    """A sample per user of items that he does not have, its weight by their mean score.

    scores: [users, items], NaN for what cannot be chosen.
    """
    new = np.where(log.had[users].toarray() > 0, np.nan, scores)
    room = np.isfinite(new).sum(axis=1)
    names = [log.users[row] for row in users]
    told = np.array([context.users.get(name, 0) for name in names], dtype=np.int64)
    shares = np.minimum(told, room) if context.users else even(context.volume, room)
    found = [(name, row, some) for name, row, some in zip(names, new, _best(new, shares), strict=True) if len(some)]
    value = weights(np.maximum(0.0, np.array([row[some].mean() for _, row, some in found], dtype=np.float64)))
    samples = [
        Sample(
            f"{stage}/{quote(name, safe='')}",
            "history",
            name,
            None,
            tuple(Pair(name, log.items[item]) for item in some),
            float(weight),
        )
        for (name, _, some), weight in zip(found, value, strict=True)
    ]
    unknown = [Reject(user, stage, "no_history") for user in sorted(set(context.users) - set(log.users))]
    return Made(samples, [*unknown, *shortfall(stage, context.volume, shares)])


def _best(scores: Floats, shares: Ints) -> Sequence[NDArray[np.int64]]:
    """The `shares` highest of each row, best first, of equal ones the first; NaN comes last."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return [row[:share] for row, share in zip(order, shares, strict=True)]
