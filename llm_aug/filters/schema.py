"""Rows that mean something: a known kind and subject, content of that kind, a finite weight, an id of their own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from llm_aug.data import KINDS, Sample, Verdict
from llm_aug.filters.reference import Reference, Threshold
from llm_aug.text import is_encodable

TEXT_KINDS = ("description", "review", "profile")
PAIR_KINDS = ("interactions", "history")


@dataclass(frozen=True)
class SchemaConfig:
    pass


@dataclass
class Schema:
    """Reasons: repeated_id, unknown_kind, bad_weight, no_text, bad_text (a lone surrogate, which no file can hold),
    unknown_item, no_interactions.
    """

    reference: Reference
    config: SchemaConfig
    Config: ClassVar = SchemaConfig

    @property
    def thresholds(self) -> dict[str, Threshold]:
        return {}

    def applies(self, sample: Sample) -> bool:
        return True

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        """Of several sound samples under one id, the first by its content stays, whatever the order they come in."""
        ids, reasons = [], []
        for sample in samples:
            ids.append(sample.sample_id)
            reasons.append(self._fault(sample))
        sound = [row for row, reason in enumerate(reasons) if not reason]
        counts = Counter(ids[row] for row in sound)
        taken: set[str] = set()
        for row in sorted((row for row in sound if counts[ids[row]] > 1), key=lambda row: repr(samples[row])):
            reasons[row] = "repeated_id" if ids[row] in taken else ""
            taken.add(ids[row])
        return [Verdict(not reason, reason) for reason in reasons]

    def _fault(self, sample: Sample) -> str:
        if sample.kind not in KINDS:
            return "unknown_kind"
        if not (math.isfinite(sample.weight) and sample.weight > 0):
            return "bad_weight"
        if sample.kind in (*TEXT_KINDS, "attributes") and not (sample.text or "").strip():
            return "no_text"
        if not is_encodable(sample.text or ""):
            return "bad_text"
        if sample.kind in ("description", "attributes") and sample.subject not in self.reference.row:
            return "unknown_item"
        if sample.kind in PAIR_KINDS and not sample.interactions:
            return "no_interactions"
        if any(pair.item_id not in self.reference.row for pair in sample.interactions or ()):
            return "unknown_item"
        return ""
