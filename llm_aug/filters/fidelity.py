"""Rewrites that are about their own item, and yet not its old text again: a band of similarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llm_aug.data import Sample, Verdict
from llm_aug.filters.reference import Reference, Threshold, judged, threshold
from llm_aug.vectors import Vectors

COMPETITORS = 10


@dataclass(frozen=True)
class FidelityConfig:
    """margin: by how much its own item has to be nearer than any other. copy: cosine to its source text at most."""

    margin: float | None = None
    copy: float | None = None


@dataclass
class Fidelity:
    """Reasons: unfaithful (nearest is the item it resembles more; score the margin), copy (score the cosine).

    An item has two faces, its description and its facts (title and attributes), and a text is faithful if it finds its
    own item first by either: of 1,500 films, half of a plot finds its film among plots 96 times in 100 and the facts
    find theirs among plots 16 times (MiniLM). Items as alike as duplicates do not compete with each other.
    """

    reference: Reference
    config: FidelityConfig
    Config: ClassVar = FidelityConfig

    def applies(self, sample: Sample) -> bool:
        return sample.kind == "description"

    @cached_property
    def thresholds(self) -> dict[str, Threshold]:
        return {
            "margin": threshold(self.config.margin, 0.01, "default: its own item comes first, by more than rounding"),
            "copy": threshold(self.config.copy, 0.98, "default: a text with a word or two changed"),
        }

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        if not samples:
            return []
        reference = self.reference
        vectors, usable = judged(samples, reference)
        own = np.array([reference.row[sample.subject] for sample in samples])
        copied = (vectors * reference.source_vectors[own]).sum(axis=1)
        verdicts = [Verdict(False, "no_vector")] * len(samples)
        faces = [self._margins(vectors[usable], own[usable], base) for base in reference.faces]
        for order, row in enumerate(np.flatnonzero(usable).tolist()):
            margin, rival = max((float(margins[order]), int(rivals[order])) for margins, rivals in faces)
            verdicts[row] = self._verdict(margin, rival, float(copied[row]), samples[row].subject)
        return verdicts

    def _margins(
        self, vectors: Vectors, own: NDArray[np.int64], base: Vectors
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Cosine to the own item less that to the best other one, and the other one's row (-1: none)."""
        _, found = self.reference.nearest_items(vectors, base, COMPETITORS + 1)
        margins, rivals = np.full(len(vectors), -np.inf), np.full(len(vectors), -1)
        for position, (vector, row) in enumerate(zip(vectors, own.tolist(), strict=True)):
            twin = base[found[position]] @ base[row] >= self.reference.closeness.value
            others = found[position][~twin & (found[position] != row)]
            rivals[position] = others[0] if len(others) else -1
            margins[position] = vector @ base[row] - (vector @ base[others[0]] if len(others) else -1.0)
        return np.nan_to_num(margins, nan=-np.inf, posinf=-np.inf), rivals

    def _verdict(self, margin: float, rival: int, copied: float, subject: str) -> Verdict:
        if margin < self.thresholds["margin"].value:
            return Verdict(False, "unfaithful", margin, self.reference.ids[rival] if rival >= 0 else "")
        if copied > self.thresholds["copy"].value:
            return Verdict(False, "copy", copied, subject)
        return Verdict(True, "", margin, subject)
