"""Simulated interactions: of known users, new to the log, weighted in (0, 1], each pair once, within the caps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from llm_aug.data import Pair, Sample, Verdict
from llm_aug.filters.reference import Reference, Threshold


@dataclass(frozen=True)
class PairsConfig:
    """per_user, per_item: simulated pairs kept at most, best weights first; None is no cap."""

    per_user: int | None = None
    per_item: int | None = None


@dataclass
class Pairs:
    """Reasons: unknown_user, weight_out_of_range, in_train, repeated_pair, over_user_cap, over_item_cap.

    A sample of several pairs falls with any of them. Of a repeated pair the best weight stays, then the first id.
    """

    reference: Reference
    config: PairsConfig
    Config: ClassVar = PairsConfig

    @property
    def thresholds(self) -> dict[str, Threshold]:
        caps = {"per_user": self.config.per_user, "per_item": self.config.per_item}
        return {name: Threshold(float(cap), "set by you") for name, cap in caps.items() if cap is not None}

    def applies(self, sample: Sample) -> bool:
        return sample.kind == "interactions"

    @cached_property
    def _known(self) -> set[tuple[str, str]]:
        log = self.reference.training.interactions
        return set(zip(log["user_id"], log["item_id"], strict=True))

    @cached_property
    def _users(self) -> set[str]:
        return set(self.reference.training.interactions["user_id"])

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        kept: dict[tuple[str, str], str] = {}
        per_user: Counter[str] = Counter()
        per_item: Counter[str] = Counter()
        verdicts: dict[int, Verdict] = {}
        best_first = sorted(range(len(samples)), key=lambda row: (-samples[row].weight, samples[row].sample_id))
        for row in best_first:
            sample = samples[row]
            pairs = sample.interactions or ()
            verdict = self._fault(sample, pairs) or _repeated(pairs, kept) or self._over(pairs, per_user, per_item)
            verdicts[row] = verdict or Verdict(True, score=sample.weight)
            if verdict is None:
                kept |= {(pair.user_id, pair.item_id): sample.sample_id for pair in pairs}
                per_user.update(pair.user_id for pair in pairs)
                per_item.update(pair.item_id for pair in pairs)
        return [verdicts[row] for row in range(len(samples))]

    def _fault(self, sample: Sample, pairs: Sequence[Pair]) -> Verdict | None:
        if not 0 < sample.weight <= 1:
            return Verdict(False, "weight_out_of_range", sample.weight)
        for pair in pairs:
            if pair.user_id not in self._users:
                return Verdict(False, "unknown_user", nearest=pair.user_id)
            if (pair.user_id, pair.item_id) in self._known:
                return Verdict(False, "in_train", sample.weight, pair.item_id)
        return None

    def _over(self, pairs: Sequence[Pair], per_user: Counter[str], per_item: Counter[str]) -> Verdict | None:
        users, items = Counter(pair.user_id for pair in pairs), Counter(pair.item_id for pair in pairs)
        for name, cap, had, more in (
            ("over_user_cap", self.config.per_user, per_user, users),
            ("over_item_cap", self.config.per_item, per_item, items),
        ):
            if cap is not None and any(had[key] + count > cap for key, count in more.items()):
                return Verdict(False, name, float(cap))
        return None


def _repeated(pairs: Sequence[Pair], kept: dict[tuple[str, str], str]) -> Verdict | None:
    """Against kept samples and within the sample itself."""
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        key = (pair.user_id, pair.item_id)
        if key in kept or key in seen:
            return Verdict(False, "repeated_pair", nearest=kept.get(key, ""))
        seen.add(key)
    return None
