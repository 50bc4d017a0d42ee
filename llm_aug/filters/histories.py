"""Histories as a whole: of one user, new to him, in order of time, and no real user's history under another name.

One sample: {"sample_id": "history/simulate/synthetic/0/0", "kind": "history", "subject": "synthetic/0", "interactions":
             [{"user_id": "synthetic/0", "item_id": "1", "timestamp": 964982703}, {...}], "weight": 1.0}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import pandas as pd

from llm_aug.data import Sample, Verdict

RUN = 5  # items in a row: shorter runs are shared by chance
FEWEST = 2  # items: nobody is known by a single one


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


def copies(stories: Mapping[int, tuple[str, ...]], log: Log) -> dict[int, Verdict]:
    """copied_history for each story that gives away a real user; nearest is that user, the first by name.

    Both have the same items, FEWEST or more, in any order; or the shorter one, of RUN items or more, stands in the
    longer one as a run.
    """
    if not stories:
        return {}
    same: defaultdict[frozenset[str], list[int]] = defaultdict(list)
    runs: defaultdict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for row, items in stories.items():
        if len(set(items)) >= FEWEST:
            same[frozenset(items)].append(row)
        for place in range(len(items) - RUN + 1):
            runs[items[place : place + RUN]].append((row, place))
    found: dict[int, str] = {}
    for user, real in sorted(log.histories.items()):
        rows = list(same.get(frozenset(real), ()))
        for start in range(len(real) - RUN + 1 if runs else 0):
            for row, place in runs.get(real[start : start + RUN], ()):
                length = min(len(real), len(stories[row]))
                inside = start == 0 or place == 0  # the shorter one has to begin here
                if inside and real[start : start + length] == stories[row][place : place + length]:
                    rows.append(row)
        for row in rows:
            found.setdefault(row, user)
    return {row: Verdict(False, "copied_history", 1.0, user) for row, user in found.items()}
