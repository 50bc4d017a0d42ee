"""Texts that read exactly like a real one, whatever their case, spacing, punctuation or Unicode form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from llm_aug.data import Sample, Verdict
from llm_aug.filters.reference import Reference, Threshold
from llm_aug.filters.schema import TEXT_KINDS
from llm_aug.recent import digest

ANYBODYS = 3  # words of a review that many people write: "Great!"


@dataclass(frozen=True)
class DuplicateConfig:
    pass


@dataclass
class Duplicate:
    """Reason: exact_duplicate; nearest is the item, of a review the one that it is about.

    Copies among the samples themselves are `repeat`'s.
    """

    reference: Reference
    config: DuplicateConfig
    Config: ClassVar = DuplicateConfig

    @property
    def thresholds(self) -> dict[str, Threshold]:
        return {}

    def applies(self, sample: Sample) -> bool:
        return sample.kind in TEXT_KINDS

    @cached_property
    def _catalogue(self) -> dict[bytes, str]:
        """By what it reads the first item with each description, title or review."""
        found: dict[bytes, str] = {}
        for column in ("description", "title"):
            texts = (str(text) for part in self.reference.training.values(column) for text in part)
            for text, item in zip(texts, self.reference.ids, strict=True):
                if read := self.reference.read(text):
                    found.setdefault(digest(read), item)
        for item, review in self.reference.reviews:
            if len((read := self.reference.read(review)).split()) > ANYBODYS:
                found.setdefault(digest(read), item)
        return found

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        nearest = [self._catalogue.get(digest(self.reference.read(sample.text))) for sample in samples]
        return [Verdict(True) if item is None else Verdict(False, "exact_duplicate", 1.0, item) for item in nearest]
