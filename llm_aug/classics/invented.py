"""Histories of invented users, each made of real ones, until the volume is reached.

One sample: {"sample_id": "transform/crop/0", "kind": "history", "subject": "transform/crop/0",
             "interactions": [{"user_id": "transform/crop/0", "item_id": "1", "timestamp": 964982703}, ...]}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llm_aug import seeds
from llm_aug.classics import Context, Made
from llm_aug.classics.budgets import shortfall
from llm_aug.classics.log import Event, Log, history, new_users
from llm_aug.data import Origin, Reject, Sample

Gist = tuple[tuple[int, float], ...]
TRIES = 5  # at a story that is not the user's own again, before he is given up


@dataclass(frozen=True)
class Story:
    """parents: the real users that it is made of."""

    events: Sequence[Event]
    parents: tuple[str, ...]
    weight: float = 1.0


def invent(prefix: str, log: Log, context: Context, tell: Callable[[int, np.random.Generator], Story]) -> Made:
    """tell: a story of the user in this row. Users take turns in a seeded order; the last story is cut to the volume.

    Reasons: full, and of users empty, unchanged (the same items and values in the same order), repeated; a user who had
    one TRIES times in one turn takes no more.
    """
    names = new_users(prefix, log.users)
    turns = seeds.generator(context.seed, prefix, "order").permutation(len(log.users)).tolist()
    told = {_gist(events) for events in log.events}
    left, number = context.volume, 0
    samples: list[Sample] = []
    rejects: list[Reject] = []
    while left > 0 and turns:
        going = []
        for row in turns:
            if left <= 0:
                break
            for attempt in range(TRIES):
                story = tell(row, seeds.generator(context.seed, prefix, log.users[row], number, attempt))
                events = list(story.events)[:left]
                fault = _fault(_gist(events), _gist(log.events[row]), told)
                if not fault:
                    break
            else:
                rejects.append(Reject(log.users[row], prefix, fault))
                continue
            told.add(_gist(events))
            user = next(names)
            pairs, origin = history(log, user, events), Origin("", parents=story.parents)
            samples.append(Sample(user, "history", user, None, pairs, story.weight, origin))
            left -= len(events)
            going.append(row)
        turns, number = going, number + 1
    return Made(samples, [*rejects, *shortfall(prefix, context.volume, context.volume - left)])


def _gist(events: Sequence[Event]) -> Gist:
    return tuple((event.item, event.value) for event in events)


def _fault(gist: Gist, own: Gist, told: set[Gist]) -> str:
    if not gist:
        return "empty"
    if gist == own:
        return "unchanged"
    return "repeated" if gist in told else ""
