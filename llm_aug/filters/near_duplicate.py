"""Texts that say what another real item's text says, by exact inner-product search in FAISS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from llm_aug.data import Sample, Verdict
from llm_aug.filters.reference import Reference, Threshold, judged, threshold
from llm_aug.filters.schema import TEXT_KINDS
from llm_aug.vectors import finite

NEIGHBOURS = 10


@dataclass(frozen=True)
class NearDuplicateConfig:
    """similarity: cosine from which two texts count as the same; None measures it on the real descriptions."""

    similarity: float | None = None


@dataclass
class NearDuplicate:
    """Reasons: near_duplicate, no_vector (a text without direction finds no neighbour, which is not the same as new).

    A text may be as near to another item as its own item is: catalogues hold variants (the same pen in blue) whose
    honest rewrites are alike. score: cosine to the nearest other item. Where no item has a text, a review stays.
    """

    reference: Reference
    config: NearDuplicateConfig
    Config: ClassVar = NearDuplicateConfig

    def applies(self, sample: Sample) -> bool:
        return sample.kind in TEXT_KINDS

    @cached_property
    def thresholds(self) -> dict[str, Threshold]:
        measured = Threshold(1.0, "") if self.config.similarity is not None else self.reference.closeness
        return {"similarity": threshold(self.config.similarity, measured.value, measured.source)}

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        if not samples:
            return []
        limit, reference = self.thresholds["similarity"].value, self.reference
        vectors, usable = judged(samples, reference)
        verdicts = [Verdict(False, "no_vector")] * len(samples)
        base = reference.source_vectors
        if not finite(base).any() and all(sample.kind != "description" for sample in samples):
            return [Verdict(True) if one else Verdict(False, "no_vector") for one in usable.tolist()]
        scores, rows = reference.nearest_items(vectors[usable], base, NEIGHBOURS + 1)
        subjects = [reference.row.get(sample.subject) for sample in samples]
        for position, near, found in zip(np.flatnonzero(usable).tolist(), scores, rows, strict=True):
            own = subjects[position]
            others = [(score, row) for score, row in zip(near.tolist(), found.tolist(), strict=True) if row != own]
            copied = [
                (score, row)
                for score, row in others
                if score >= limit and (own is None or score > float(base[own] @ base[row]))
            ]
            score, row = (copied or others or [(0.0, -1)])[0]
            reason = "near_duplicate" if copied else ""
            verdicts[position] = Verdict(not reason, reason, score, reference.ids[row] if row >= 0 else "")
        return verdicts
