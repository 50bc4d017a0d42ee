"""Histories that give away a real user of the log: his own under another name, with an item exchanged or left out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from llm_aug.data import Verdict
from llm_aug.filters.histories import Log

RUN = 5  # items: shorter sub-sequences are shared by chance
ALIKE = 0.8  # share of the items of which one or two were exchanged
SPREAD = 4  # of 300 real users' latest RUN items 4 are another's within so many times their length, 14 with any gaps
CLOSE = 2  # as SPREAD, where some are missing
LONG, PART = 8, 4  # so many items in a row, and a 4th of the shorter history, are not shared by chance
FEWEST = 2  # items: nobody is known by a single one
BLOCK = 256  # users who are compared with all stories at once
History = tuple[str, ...]


def copies(stories: Mapping[int, History], log: Log, users: Mapping[int, str] | None = None) -> dict[int, Verdict]:
    """copied_history for each story that gives away a real user; nearest is that user, the first by name.

    Both have the same items, FEWEST or more, in any order; or ALIKE of them, RUN or more; or the shorter one, of RUN
    items or more, is a sub-sequence of the longer one (see SPREAD), or ALIKE of it is, RUN items or more; or they share
    a run of LONG items or more, a PART-th of the shorter one. users: whose story it is, where a user of the log goes
    on: it is compared with the others, and fewer than RUN items are chance.
    """
    own = users or {}
    found: dict[int, str] = {}
    for user, row in _suspects(stories, log.histories) if stories else ():
        if row not in found and own.get(row) != user:
            items, real = stories[row], log.histories[user]
            shared = len(set(items) & set(real))
            if shared >= (RUN if row in own else FEWEST) and _copied(items, real, shared):
                found[row] = user
    return {row: Verdict(False, "copied_history", 1.0, user) for row, user in found.items()}


def _suspects(stories: Mapping[int, History], log: Mapping[str, History]) -> Iterator[tuple[str, int]]:
    """By user, those that share as many items as a copy has to, or a run of LONG: few of all pairs."""
    users, rows = sorted(log), list(stories)
    codes: defaultdict[str, int] = defaultdict(count().__next__)
    made, real = (
        [[codes[item] for item in items] for items in each]
        for each in (stories.values(), (log[user] for user in users))
    )
    mine, theirs = (_Items(each, len(codes)) for each in (made, real))
    runs: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, items in enumerate(made):
        for run in _runs(items):
            runs[run].append(place)
    for start in range(0, len(users), BLOCK):
        some = range(start, min(start + BLOCK, len(users)))
        shared = (theirs.has[some.start : some.stop] @ mine.has.T).tocoo()
        enough = _enough(shared.data, mine.sizes(shared.col), theirs.sizes(shared.row + start))
        near = set(zip((shared.row[enough] + start).tolist(), shared.col[enough].tolist(), strict=True))
        near.update((user, place) for user in some for run in _runs(real[user]) for place in runs.get(run, ()))
        yield from ((users[user], rows[place]) for user, place in sorted(near))


class _Items:
    """has: [histories, items], 1 where it has the item."""

    def __init__(self, histories: Sequence[Sequence[int]], items: int) -> None:
        every = [sorted(set(own)) for own in histories]
        ends = np.cumsum([0, *map(len, every)])
        codes = np.array([code for own in every for code in own], np.int64)
        self.has: Any = sparse.csr_matrix((np.ones(len(codes), np.int32), codes, ends), (len(every), items))
        self._all, self._distinct = np.array(list(map(len, histories))), np.diff(ends)

    def sizes(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Items of each, and distinct ones."""
        return self._all[rows], self._distinct[rows]


def _enough(shared: NDArray[np.int64], one: Any, other: Any) -> NDArray[np.bool_]:
    """Whether two histories, told by their `sizes`, may be copies by the distinct items that they share."""
    most = np.maximum(one[1], other[1])
    first = one[0] <= other[0]
    length, distinct = np.where(first, one[0], other[0]), np.where(first, one[1], other[1])
    missing = length - np.maximum(RUN, np.ceil(ALIKE * length - 1e-9))
    alike = (shared == most) | (shared >= np.maximum(RUN, ALIKE * most))
    found: NDArray[np.bool_] = (shared >= FEWEST) & (alike | ((missing >= 0) & (shared >= distinct - missing)))
    return found


def _copied(items: History, real: History, shared: int) -> bool:
    """shared: distinct items that stand in both."""
    short, long = sorted((items, real), key=len)
    most = max(len(set(short)), len(set(long)))
    if shared == most or shared >= max(RUN, ALIKE * most):
        return True
    if len(short) >= RUN and _follows(short, long, len(short), SPREAD):
        return True
    return _follows(short, long, max(RUN, math.ceil(ALIKE * len(short))), CLOSE) or _share_run(short, long)


def _follows(short: History, long: History, wanted: int, spread: int) -> bool:
    """Whether `wanted` items of short stand in its order in long, within `spread` times the length of short."""
    inside, reach = set(short), spread * len(short)
    places = [place for place, item in enumerate(long) if item in inside]
    for first, last in zip(places, places[wanted - 1 :], strict=False):
        if last - first < reach:
            window = [long[place] for place in places if first <= place < first + reach]
            if _in_order(short, window) >= wanted:
                return True
    return False


def _in_order(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    best = [0] * (len(other) + 1)
    for item in one:
        before = 0
        for place, rival in enumerate(other, 1):
            before, best[place] = best[place], before + 1 if item == rival else max(best[place], best[place - 1])
    return best[-1]


def _runs(items: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Every LONG in a row."""
    return zip(*(items[place:] for place in range(LONG)), strict=False)


def _share_run(short: History, long: History) -> bool:
    length = max(LONG, -(-len(short) // PART))
    runs = {short[place : place + length] for place in range(len(short) - length + 1)}
    return any(long[place : place + length] in runs for place in range(len(long) - length + 1))
