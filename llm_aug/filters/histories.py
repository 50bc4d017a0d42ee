"""Histories as a whole: of one user, new to him, in order of time. Whether they are another's is `copied`'s to say.

One sample: {"sample_id": "history/simulate/synthetic/0/0", "kind": "history", "subject": "synthetic/0", "interactions":
             [{"user_id": "synthetic/0", "item_id": "1", "timestamp": 964982703}, {...}], "weight": 1.0}
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import pandas as pd

from llm_aug.data import Sample, Verdict


@dataclass
class Log:
    """What the training log holds, each computed once."""

    interactions: pd.DataFrame

    @cached_property
    def pairs(self) -> set[tuple[str, str]]:
        return set(zip(self.interactions["user_id"], self.interactions["item_id"], strict=True))

    @cached_property
    def users(self) -> set[str]:
        return set(self.interactions["user_id"])

    @cached_property
    def repeats(self) -> bool:
        """Whether some user has an item twice, as where people buy the same again."""
        return len(self.pairs) < len(self.interactions)

    @cached_property
    def ties(self) -> bool:
        """Whether some user has two events at one time."""
        timed = self.interactions.dropna(subset=["timestamp"])
        return bool(timed.duplicated(["user_id", "timestamp"]).any())

    @cached_property
    def histories(self) -> dict[str, tuple[str, ...]]:
        """All of a user's items, oldest first; those of one time, or of none, by id."""
        ordered = self.interactions.sort_values(["user_id", "timestamp", "item_id"], na_position="first")
        items: defaultdict[str, list[str]] = defaultdict(list)
        for user, item in zip(ordered["user_id"], ordered["item_id"], strict=True):
            items[user].append(item)
        return {user: tuple(own) for user, own in items.items()}


def story(sample: Sample) -> tuple[str, ...]:
    return tuple(pair.item_id for pair in sample.interactions or ())


def fault(sample: Sample, log: Log) -> Verdict | None:
    """Reasons: mixed_users, unknown_user, in_train, repeated_item, not_increasing.

    A user who is not in the log is an invented one, unless the sample has him among its parents. A log with repeats
    allows them, and one with several events of a user at one time allows those.
    """
    user, pairs = sample.subject, sample.interactions or ()
    others = {pair.user_id for pair in pairs} - {user}
    if others:
        return Verdict(False, "mixed_users", nearest=min(others))
    if user in sample.origin.parents and user not in log.users:
        return Verdict(False, "unknown_user", nearest=user)
    seen: set[str] = set()
    for item in () if log.repeats else story(sample):
        if (user, item) in log.pairs:
            return Verdict(False, "in_train", sample.weight, item)
        if item in seen:
            return Verdict(False, "repeated_item", nearest=item)
        seen.add(item)
    times = [pair.timestamp for pair in pairs if pair.timestamp is not None]
    if any(later < time or (later == time and not log.ties) for time, later in pairwise(times)):
        return Verdict(False, "not_increasing")
    return None
