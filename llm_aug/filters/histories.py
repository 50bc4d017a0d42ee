"""Histories as a whole: of one user, new to him, in order of time, and no real user's history under another name.

One sample: {"sample_id": "history/simulate/synthetic/0/0", "kind": "history", "subject": "synthetic/0", "interactions":
             [{"user_id": "synthetic/0", "item_id": "1", "timestamp": 964982703}, {...}], "weight": 1.0}
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import pandas as pd

from llm_aug.data import Sample, Verdict

RUN = 5  # items: shorter sub-sequences are shared by chance
SPREAD = 4  # of 300 real users' latest RUN items 4 are another's within so many times their length, 14 with any gaps
LONG, PART = 8, 4  # so many items in a row, and a 4th of the shorter history, are not shared by chance
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

    Both have the same items, FEWEST or more, in any order; or the shorter one, of RUN items or more, is a sub-sequence
    of the longer one (see SPREAD); or they share a run of LONG items or more, a PART-th of the shorter one.
    """
    having: defaultdict[str, list[int]] = defaultdict(list)
    for row, items in stories.items():
        for item in set(items):
            having[item].append(row)
    found: dict[int, str] = {}
    for user, real in sorted(log.histories.items()) if stories else ():
        shared = Counter(row for item in set(real) for row in having.get(item, ()))
        for row, count in shared.items():
            if row not in found and count >= FEWEST and _copied(stories[row], real, count):
                found[row] = user
    return {row: Verdict(False, "copied_history", 1.0, user) for row, user in found.items()}


def _copied(items: tuple[str, ...], real: tuple[str, ...], shared: int) -> bool:
    """shared: distinct items that stand in both."""
    short, long = sorted((items, real), key=len)
    inside = shared == len(set(short))
    if inside and shared == len(set(long)):
        return True
    if inside and len(short) >= RUN and _follows(short, long):
        return True
    return shared >= LONG and _share_run(short, long)


def _follows(short: tuple[str, ...], long: tuple[str, ...]) -> bool:
    """Whether short is a sub-sequence of long within SPREAD times its own length."""
    reach = SPREAD * len(short)
    for start, item in enumerate(long):
        if item == short[0]:
            window = iter(long[start : start + reach])
            if all(wanted in window for wanted in short):
                return True
    return False


def _share_run(short: tuple[str, ...], long: tuple[str, ...]) -> bool:
    length = max(LONG, -(-len(short) // PART))
    runs = {short[place : place + length] for place in range(len(short) - length + 1)}
    return any(long[place : place + length] in runs for place in range(len(long) - length + 1))
