"""Texts that share most of their wording with another real item's description, before anything is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from llm_aug.data import Sample, Verdict
from llm_aug.filters.reference import Reference, Threshold, threshold
from llm_aug.filters.schema import TEXT_KINDS
from llm_aug.shingles import Overlaps

BELOW = 0.1  # scores are looked for so far below the threshold, for the borderline


@dataclass(frozen=True)
class LexicalConfig:
    """overlap: Jaccard index of word shingles from which two texts count as the same; None measures it."""

    overlap: float | None = None


@dataclass
class Lexical:
    """Reason: lexical_duplicate; nearest is the item, score the Jaccard index with it.

    As with vectors, a text may share as much with another item as its own item does. score is None for a text that
    comes nowhere near the threshold. Copies among the samples themselves are `repeat`'s.
    """

    reference: Reference
    config: LexicalConfig
    Config: ClassVar = LexicalConfig

    def applies(self, sample: Sample) -> bool:
        return sample.kind in TEXT_KINDS

    @cached_property
    def thresholds(self) -> dict[str, Threshold]:
        measured = Threshold(1.0, "") if self.config.overlap is not None else self.reference.overlap
        return {"overlap": threshold(self.config.overlap, measured.value, measured.source)}

    @cached_property
    def _overlaps(self) -> Overlaps:
        limit, texts = self.thresholds["overlap"].value, self.reference.descriptions
        overlaps = Overlaps(map(self.reference.read, texts), max(limit - BELOW, BELOW))
        for row in range(len(texts)):
            overlaps.add(row)
        return overlaps

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        if not samples:
            return []
        limit, reference, overlaps = self.thresholds["overlap"].value, self.reference, self._overlaps
        verdicts = []
        for sample in samples:
            own = reference.row.get(sample.subject)
            others = [(score, row) for score, row in overlaps.like(reference.read(sample.text)) if row != own]
            copied = [
                (score, row)
                for score, row in others
                if score >= limit and (own is None or score > overlaps.index(own, row))
            ]
            if not others:
                verdicts.append(Verdict(True))
                continue
            score, row = (copied or others)[0]
            verdicts.append(Verdict(not copied, "lexical_duplicate" if copied else "", score, reference.ids[row]))
        return verdicts
