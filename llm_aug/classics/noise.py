"""Noise: perturbed text vectors find pairs, ratings tremble, words of descriptions are lost, swapped and misspelt.

items         a cold item's perturbed vector finds its users (profile: mean of the vectors of a user's items)
users         a user's perturbed profile finds items
weights       a user's rows again, as an invented user's, with noise on their ratings (on their weights without ratings,
              which comes out as the sample's weight)
descriptions  random deletion and swap of words (EDA: Wei and Zou 2019, arXiv:1901.11196) and typing errors
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llm_aug import seeds
from llm_aug.classics import Context, Made
from llm_aug.classics.budgets import even, rarest_first, shortfall
from llm_aug.classics.invented import TRIES, Story, invent
from llm_aug.classics.log import Event, Floats, Ints, Log, centred
from llm_aug.classics.making import pair_samples
from llm_aug.data import Dataset, Reject, Sample, item_text
from llm_aug.errors import InputError
from llm_aug.grade import FLOOR
from llm_aug.vectors import finite, unit


@dataclass(frozen=True)
class Noise:
    """spread: length of the Gaussian noise on a unit vector; of ratings and weights its deviation, as a share of their
    range (of equal ones: of their size).

    salt: share of a vector's values that become its largest, its smallest or (pepper) 0; of ratings and weights, share
    that become the largest or the smallest of the log. copies: perturbed vectors that take turns in choosing. words:
    share of a description's words that each kind of noise befalls.
    """

    STYLES: ClassVar = ("items", "users", "weights", "descriptions")
    style: str = "items"
    spread: float = 0.3
    salt: float = 0.02
    copies: int = 5
    words: float = 0.1

    def __post_init__(self) -> None:
        if not (0 <= self.spread < inf and 0 <= self.salt <= 1 and self.copies >= 1 and 0 < self.words <= 1):
            raise InputError(f"noise: spread in [0, inf), salt in [0, 1], copies >= 1 and words in (0, 1], not {self}")

    def make(self, dataset: Dataset, context: Context) -> Made:
        """Reasons: no_text (nothing to perturb), full (nothing new is left), and those of `invent`."""
        log = Log(dataset)
        if self.style == "weights":
            return self._weighed(log, context)
        if self.style == "descriptions":
            return self._written(dataset, context)
        return self._found(log, context)

    def _found(self, log: Log, context: Context) -> Made:
        raw = context.vectors()
        vectors = centred(raw)
        profiles = log.profiles(vectors)
        of_items = self.style == "items"
        asking, asked = (vectors, profiles) if of_items else (profiles, vectors)
        told = finite(raw) if of_items else finite(profiles)
        others = finite(profiles) if of_items else finite(raw)
        shares, rejects = self._shares(log, context, told, others)
        taken = (log.had.T if of_items else log.had).tocsr()
        names = log.items if of_items else log.users
        pairs = []
        for row in np.flatnonzero(shares).tolist():
            random = seeds.generator(context.seed, "noise", self.style, names[row])
            scores = self._perturbed(asking[row], random) @ asked.T
            out = ~others
            out[taken[row].indices] = True
            for other in in_turn(scores, out, int(shares[row])).tolist():
                user, item = (other, row) if of_items else (row, other)
                pairs.append((log.users[user], log.items[item], float(scores[:, other].mean())))
        return Made(pair_samples(f"noise/{self.style}", pairs), rejects)

    def _shares(
        self, log: Log, context: Context, told: NDArray[np.bool_], others: NDArray[np.bool_]
    ) -> tuple[Ints, list[Reject]]:
        """Of cold items evenly; of others, and of users whom nothing gives a share, those with fewest first."""
        stage, by_item = f"noise/{self.style}", self.style == "items"
        names, counts = (log.items, log.counts) if by_item else (log.users, log.degrees)
        had = log.had if by_item else log.had.T
        taken = np.asarray(had[np.flatnonzero(others)].sum(axis=0), dtype=np.int64).ravel()
        caps = np.where(told, int(others.sum()) - taken, 0)
        asked = np.array([context.users.get(name, 0) for name in names], dtype=np.int64)
        if not by_item and asked.any():
            shares = np.minimum(caps, asked)
            shares += even(context.volume - int(shares.sum()), np.where(asked > 0, caps - shares, 0))
        elif by_item and not counts.all():
            shares = even(context.volume, np.where(counts == 0, caps, 0))
        else:
            shares = rarest_first(context.volume, counts, caps, 4)
        wanted = (asked if not by_item else counts == 0).astype(bool)
        silent = [Reject(names[row], stage, "no_text") for row in np.flatnonzero(wanted & ~told)]
        return shares, [*silent, *shortfall(stage, context.volume, int(shares.sum()))]

    def _perturbed(self, vector: Floats, random: np.random.Generator) -> Floats:
        """[copies, dimensions], unit rows."""
        shape = (self.copies, len(vector))
        rows = vector + random.standard_normal(shape) * self.spread / np.sqrt(len(vector))
        extremes = random.choice([vector.max(), vector.min(), 0.0], size=shape)
        return unit(np.where(random.random(shape) < self.salt, extremes, rows))

    def _weighed(self, log: Log, context: Context) -> Made:
        """The sample's weight is the mean of its values, as a share of the log's largest."""
        every = [event for events in log.events for event in events]
        kinds = {_rated(event) for event in every}
        scales = {rated: Scale.of([one.value for one in every if _rated(one) == rated]) for rated in kinds}

        def tell(row: int, random: np.random.Generator) -> Story:
            noisy = [self._trembled(event, scales[_rated(event)], random) for event in log.events[row]]
            kept = [event for event in noisy if event is not None]
            shares = [event.value / max(scales[_rated(event)].high, 1e-12) for event in kept]
            return Story(kept, (log.users[row],), float(np.clip(np.mean(shares or [0.0]), FLOOR, 1.0)))

        return invent("noise/weights", log, context, tell)

    def _trembled(self, event: Event, scale: Scale, random: np.random.Generator) -> Event | None:
        """None for a rating below the lowest of the log, which holds none, mostly as cleaning cut them off; a weight,
        and a rating of those that are all equal, says how sure the row is: at least FLOOR of the highest."""
        value = event.value + self.spread * (scale.range or scale.high) * random.standard_normal()
        if random.random() < self.salt:
            value = random.choice([scale.low, scale.high])
        value = min(float(value), scale.high)
        if not _rated(event) or not scale.range:
            return replace(event, value=max(value, FLOOR * scale.high))
        return replace(event, value=value, rating=value) if value >= scale.low else None

    def _written(self, dataset: Dataset, context: Context) -> Made:
        """Of each item in turn, in a seeded order; of one without a description its title and attributes."""
        rows = dataset.items.to_dict("records")
        turns = seeds.generator(context.seed, "noise", "descriptions").permutation(len(rows)).tolist()
        samples: list[Sample] = []
        rejects: list[Reject] = []
        copy = 0
        while turns and len(samples) < context.volume:
            going = []
            for row in turns:
                if len(samples) == context.volume:
                    break
                item = str(rows[row]["item_id"])
                text = str(rows[row]["description"]).strip() or item_text(rows[row], dataset.attributes)
                for attempt in range(TRIES):
                    random = seeds.generator(context.seed, "noise", "words", item, copy, attempt)
                    noisy = misspelt(text, self.words, random)
                    if noisy != " ".join(text.split()):
                        break
                else:
                    rejects.append(Reject(item, "noise/descriptions", "unchanged" if noisy else "no_text"))
                    continue
                samples.append(Sample(f"noise/descriptions/{item}/{copy}", "description", item, noisy))
                going.append(row)
            turns, copy = going, copy + 1
        return Made(samples, [*rejects, *shortfall("noise/descriptions", context.volume, len(samples), what="texts")])


@dataclass(frozen=True)
class Scale:
    """Smallest and largest of the log's ratings, or of its weights."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Scale:
        return cls(min(values), max(values))

    @property
    def range(self) -> float:
        return self.high - self.low


def _rated(event: Event) -> bool:
    return event.rating is not None


def in_turn(scores: Floats, out: NDArray[np.bool_], count: int) -> Ints:
    """`count` columns of scores [copies, n] that are not out: each copy's best, then each copy's second, ..."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = order[~out[order]].reshape(len(scores), -1)[:, :count]
    return np.array(list(dict.fromkeys(ranked.T.ravel().tolist()))[:count], dtype=np.int64)


def misspelt(text: str, share: float, random: np.random.Generator) -> str:
    """Each word is deleted, swapped with the next, or loses, doubles or swaps a letter, with probability `share` each.

    The first word stays in its place, and a full stop at the end stays the end.
    """
    said = text.split()
    kept = [word for place, word in enumerate(said) if place in (0, len(said) - 1) or random.random() >= share]
    for place in range(1, len(kept) - 2):
        if random.random() < share:
            kept[place], kept[place + 1] = kept[place + 1], kept[place]
    return " ".join(_typo(word, random) if random.random() < share else word for word in kept)


def _typo(word: str, random: np.random.Generator) -> str:
    if len(word) < 4 or not word.isalpha():
        return word
    at = int(random.integers(1, len(word) - 2))
    first, second = word[at], word[at + 1]
    middle = (second, first * 2 + second, second + first)[int(random.integers(3))]
    return word[:at] + middle + word[at + 2 :]
