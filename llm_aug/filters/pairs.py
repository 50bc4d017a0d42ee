"""Simulated interactions: of known users, new to the log, weighted in (0, 1], each pair once, within the caps.

Histories are judged as a whole (see `histories`, `copied`), of reviews only whose they are: `merge` decides on pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from llm_aug.data import Pair, Sample, Verdict
from llm_aug.filters import histories
from llm_aug.filters.copied import copies
from llm_aug.filters.habits import LIMITS, Habits
from llm_aug.filters.reference import Reference, Threshold, threshold
from llm_aug.filters.schema import PAIR_KINDS


@dataclass(frozen=True)
class PairsConfig:
    """per_user, per_item: simulated pairs kept at most, best weights first; None is no cap. Histories count too.

    floor: weight of a pair at least. The rest is for histories of invented users, and measured on real ones where None:
    items at least and at most, mean log(1 + interactions) of an item, and mix, the distance of its categories from the
    log's, at most. category: the column that tells them. copies: whether they may repeat a real user's, as crops and
    other transforms of it do: good to train on, but as private as the log.
    """

    per_user: int | None = None
    per_item: int | None = None
    floor: float | None = None
    min_length: float | None = None
    max_length: float | None = None
    min_popularity: float | None = None
    max_popularity: float | None = None
    mix: float | None = None
    category: str | None = None
    copies: bool = False


@dataclass
class Pairs:
    """Reasons: unknown_user, weight_out_of_range, in_train, below_floor, repeated_pair, over_user_cap, over_item_cap;
    of histories also mixed_users, repeated_item, not_increasing, repeated_history, copied_history (nearest: whose it
    is); of those of invented users also odd_length, odd_popularity, odd_mix (score: what is odd).

    A sample of several pairs falls with any of them. Of a repeated pair or history the best weight stays, then the
    first id; earlier samples stand before all. Two histories of a user may share items, but not all of them.
    """

    reference: Reference
    config: PairsConfig
    _invents: bool = False
    Config: ClassVar = PairsConfig

    @property
    def thresholds(self) -> dict[str, Threshold]:
        given = {name: getattr(self.config, name) for name in ("per_user", "per_item", "floor")}
        caps = {name: Threshold(float(cap), "set by you") for name, cap in given.items() if cap is not None}
        return {**caps, **self._limits} if self._invents else caps

    @cached_property
    def _habits(self) -> Habits:
        return Habits(self._log, self.reference.training, self.config.category)

    @cached_property
    def _limits(self) -> dict[str, Threshold]:
        given = {name: value for name in LIMITS if (value := getattr(self.config, name)) is not None}
        return self._habits.measured | {name: threshold(value, value, "") for name, value in given.items()}

    def applies(self, sample: Sample) -> bool:
        return sample.kind in PAIR_KINDS or (sample.kind == "review" and bool(sample.interactions))

    @cached_property
    def _log(self) -> histories.Log:
        return histories.Log(self.reference.training.interactions)

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        stories = {row: histories.story(sample) for row, sample in enumerate(samples) if sample.kind == "history"}
        known = {row: user for row in stories if (user := samples[row].subject) in self._log.users}
        invented = {row: items for row, items in stories.items() if row not in known}
        copied = {} if self.config.copies else copies(stories, self._log, known)
        self._invents = bool(invented)
        kept = _Kept(self.config)
        for sample in filter(self.applies, self.reference.earlier):
            kept.add(sample)
        verdicts: dict[int, Verdict] = {}
        for row in sorted(range(len(samples)), key=lambda row: (-samples[row].weight, samples[row].sample_id)):
            sample = samples[row]
            odd = self._habits.fault(invented[row], self._limits) if row in invented else None
            verdict = self._fault(sample) or copied.get(row) or odd or kept.refuses(sample)
            verdicts[row] = verdict or Verdict(True, score=sample.weight)
            if verdict is None:
                kept.add(sample)
        return [verdicts[row] for row in range(len(samples))]

    def _fault(self, sample: Sample) -> Verdict | None:
        if not 0 < sample.weight <= 1:
            return Verdict(False, "weight_out_of_range", sample.weight)
        if sample.kind == "history":
            return histories.fault(sample, self._log)
        for pair in sample.interactions or ():
            if pair.user_id not in self._log.users:
                return Verdict(False, "unknown_user", nearest=pair.user_id)
            if sample.kind == "interactions" and (pair.user_id, pair.item_id) in self._log.pairs:
                return Verdict(False, "in_train", sample.weight, pair.item_id)
        if sample.kind == "interactions" and self.config.floor is not None and sample.weight < self.config.floor:
            return Verdict(False, "below_floor", sample.weight)
        return None


@dataclass
class _Kept:
    """What has been kept so far. pairs, stories: of which sample. Reviews take no part."""

    config: PairsConfig
    pairs: dict[tuple[str, str], str] = field(default_factory=dict)
    stories: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)
    per_user: Counter[str] = field(default_factory=Counter)
    per_item: Counter[str] = field(default_factory=Counter)

    def add(self, sample: Sample) -> None:
        if sample.kind == "review":
            return
        if sample.kind == "history":
            self.stories[_items_of(sample)] = sample.sample_id
        pairs = sample.interactions or ()
        for pair in pairs:
            self.pairs.setdefault((pair.user_id, pair.item_id), sample.sample_id)
        self.per_user.update(pair.user_id for pair in pairs)
        self.per_item.update(pair.item_id for pair in pairs)

    def refuses(self, sample: Sample) -> Verdict | None:
        if sample.kind == "review":
            return None
        pairs = sample.interactions or ()
        if sample.kind == "interactions":
            return self._repeated(pairs) or self._over(pairs)
        rival = self.stories.get(_items_of(sample))
        return self._over(pairs) if rival is None else Verdict(False, "repeated_history", nearest=rival)

    def _repeated(self, pairs: Sequence[Pair]) -> Verdict | None:
        """Against kept samples and within the sample itself."""
        seen: set[tuple[str, str]] = set()
        for pair in pairs:
            key = (pair.user_id, pair.item_id)
            if key in self.pairs or key in seen:
                return Verdict(False, "repeated_pair", nearest=self.pairs.get(key, ""))
            seen.add(key)
        return None

    def _over(self, pairs: Sequence[Pair]) -> Verdict | None:
        users, items = Counter(pair.user_id for pair in pairs), Counter(pair.item_id for pair in pairs)
        for name, cap, had, more in (
            ("over_user_cap", self.config.per_user, self.per_user, users),
            ("over_item_cap", self.config.per_item, self.per_item, items),
        ):
            if cap is not None and any(had[key] + count > cap for key, count in more.items()):
                return Verdict(False, name, float(cap))
        return None


def _items_of(sample: Sample) -> tuple[str, tuple[str, ...]]:
    return sample.subject, tuple(sorted(histories.story(sample)))
