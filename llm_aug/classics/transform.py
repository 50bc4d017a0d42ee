"""Transforms of user histories, each a new invented user's: what contrastive sequence models learn from.

crop        a run of the history                            mask    some of its events left out
reorder     a run of it shuffled over the same times        (CL4SRec: Xie et al. 2022, arXiv:2010.14395)
substitute  some items exchanged for similar ones           insert  similar items put in after some events
            (CoSeRec: Liu et al. 2021, arXiv:2108.06479)
Crop, mask, reorder and insert repeat most of a real user's history: the filter drops them as copied_history, unless
`filter.pairs.copies` is true. Only similarity of text brings in items that nobody has touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from llm_aug.classics import Context, Made
from llm_aug.classics.invented import Story, invent
from llm_aug.classics.log import Event, Ints, Log, centred
from llm_aug.data import Dataset
from llm_aug.errors import InputError

SHARES = {"substitute": 0.5, "crop": 0.6, "mask": 0.3, "reorder": 0.6, "insert": 0.3}
Random = np.random.Generator


@dataclass(frozen=True)
class Transform:
    """share: of a history's events that are cut out (crop), left out (mask), shuffled, exchanged or followed by an
    insertion; None is that of SHARES. by: what similar items are: those of the same users, of like text, or one or the
    other by chance. neighbours: of an item, from which one is drawn.
    """

    STYLES: ClassVar = tuple(SHARES)
    style: str = "substitute"
    share: float | None = None
    by: Literal["log", "text", "both"] = "both"
    neighbours: int = 5

    def __post_init__(self) -> None:
        if not (self.share is None or 0 < self.share < 1) or self.neighbours < 1:
            raise InputError(f"transform: share lies between 0 and 1, and neighbours is at least 1, not {self}")

    def make(self, dataset: Dataset, context: Context) -> Made:
        """Reasons: see `invent`."""
        log = Log(dataset)
        share = SHARES[self.style] if self.share is None else self.share
        similar = Similar(log, context, self.by, self.neighbours)
        change: Callable[[Sequence[Event], float, Random], list[Event]] = {
            "crop": crop,
            "mask": mask,
            "reorder": reorder,
            "substitute": similar.substitute,
            "insert": similar.insert,
        }[self.style]

        def tell(row: int, random: Random) -> Story:
            return Story(change(log.events[row], share, random), (log.users[row],))

        return invent(f"transform/{self.style}", log, context, tell)


def _run(events: Sequence[Event], share: float, random: Random, least: int) -> tuple[int, int]:
    """Start and end of a run of this share, of `least` events at least where there are so many."""
    length = min(len(events), max(least, int(share * len(events))))
    start = int(random.integers(len(events) - length + 1))
    return start, start + length


def _places(events: Sequence[Event], share: float, random: Random) -> list[int]:
    """So many places in order, one at least."""
    count = max(1, int(share * len(events)))
    return sorted(random.permutation(len(events))[:count].tolist())


def crop(events: Sequence[Event], share: float, random: Random) -> list[Event]:
    start, end = _run(events, share, random, 1)
    return list(events[start:end])


def mask(events: Sequence[Event], share: float, random: Random) -> list[Event]:
    out = set(_places(events, share, random))
    return [event for place, event in enumerate(events) if place not in out]


def reorder(events: Sequence[Event], share: float, random: Random) -> list[Event]:
    """The times of the run stay, its items and ratings are shuffled over them."""
    start, end = _run(events, share, random, 2)
    order = random.permutation(np.arange(start, end)).tolist()
    places = zip(range(start, end), order, strict=True)
    shuffled = [replace(events[old], timestamp=events[new].timestamp) for new, old in places]
    return [*events[:start], *shuffled, *events[end:]]


class Similar:
    """Items like others, found when first asked for."""

    def __init__(self, log: Log, context: Context, by: str, neighbours: int) -> None:
        self.log, self.count = log, neighbours
        self.ways = [one for one in ("log", "text") if by in (one, "both")]
        self._context = context
        self._known: dict[tuple[str, int], Ints] = {}
        self._together: csr_matrix | None = None
        self._vectors: NDArray[np.float32] | None = None

    def of(self, item: int, way: str) -> Ints:
        """The nearest other items, best first: cosine of their users, or of their text; none where there is none."""
        key = (way, item)
        if key not in self._known:
            scores = self._of_users(item) if way == "log" else self._of_text(item)
            scores[item] = 0.0
            order = np.argsort(-scores, kind="stable")[: self.count]
            self._known[key] = order[scores[order] > 0]
        return self._known[key]

    def _of_users(self, item: int) -> NDArray[np.float32]:
        if self._together is None:
            length = np.sqrt(np.maximum(self.log.counts, 1)).astype(np.float32)
            self._together = (self.log.had @ diags(1 / length)).tocsc()
        together = self._together
        return np.asarray((together.T @ together[:, item]).todense(), dtype=np.float32).ravel()

    def _of_text(self, item: int) -> NDArray[np.float32]:
        if self._vectors is None:
            self._vectors = centred(self._context.vectors())
        return np.asarray(self._vectors @ self._vectors[item], dtype=np.float32)

    def _drawn(self, item: int, story: set[int], random: Random) -> int | None:
        """One that the story does not have yet, found in one way, or else in the other."""
        for way in random.permutation(self.ways).tolist():
            new = [one for one in self.of(item, way).tolist() if one not in story]
            if new:
                return int(random.choice(new))
        return None

    def substitute(self, events: Sequence[Event], share: float, random: Random) -> list[Event]:
        found, story = list(events), {event.item for event in events}
        for place in _places(events, share, random):
            other = self._drawn(events[place].item, story, random)
            if other is not None:
                found[place] = replace(events[place], item=other)
                story.add(other)
        return found

    def insert(self, events: Sequence[Event], share: float, random: Random) -> list[Event]:
        """Halfway to the next event; after the last one, a second later."""
        after, story = set(_places(events, share, random)), {event.item for event in events}
        found: list[Event] = []
        for place, event in enumerate(events):
            found.append(event)
            other = self._drawn(event.item, story, random) if place in after else None
            if other is not None:
                following = events[place + 1] if place + 1 < len(events) else event
                found.append(replace(event, item=other, timestamp=_between(event.timestamp, following.timestamp)))
                story.add(other)
        return found


def _between(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else before + (after - before) // 2
