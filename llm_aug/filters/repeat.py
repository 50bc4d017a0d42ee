"""Samples that repeat one which was kept before them: word for word, or by exact search in FAISS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llm_aug.data import Sample, Verdict
from llm_aug.filters.reference import Reference, Threshold, judged, threshold
from llm_aug.filters.schema import TEXT_KINDS
from llm_aug.text import normalised
from llm_aug.vectors import Vectors, nearest

BLOCK = 1024  # a block's inner products with itself are held at once: 4 MB
NEIGHBOURS = 16  # kept rows differ from each other, so few of them can be near to one text


@dataclass(frozen=True)
class RepeatConfig:
    """similarity: to a kept sample of another subject; same_subject: to one of the same, which is alike by nature."""

    similarity: float | None = None
    same_subject: float | None = None


@dataclass
class Repeat:
    """Reasons: repeated_text, near_repeat, no_vector. nearest: the kept sample's id. score: the cosine to it.

    Greedy in the order of sample ids, against kept samples only: of two alike one stays, and a chain a~b~c loses b
    alone. Samples of two items may be as alike as the items are. Hence it is the last step: it alone sees what stays.
    """

    reference: Reference
    config: RepeatConfig
    Config: ClassVar = RepeatConfig

    def applies(self, sample: Sample) -> bool:
        return sample.kind in TEXT_KINDS

    @cached_property
    def thresholds(self) -> dict[str, Threshold]:
        measured = Threshold(1.0, "") if self.config.similarity is not None else self.reference.closeness
        return {
            "similarity": threshold(self.config.similarity, measured.value, measured.source),
            "same_subject": threshold(self.config.same_subject, 0.98, "default: a text with a word or two changed"),
        }

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        verdicts = [Verdict(False, "no_vector")] * len(samples)
        fresh: list[int] = []
        said: dict[tuple[str, str], str] = {}
        for row in sorted(range(len(samples)), key=lambda row: samples[row].sample_id):
            sample = samples[row]
            first = said.setdefault((sample.kind, normalised(sample.text or "")), sample.sample_id)
            if first == sample.sample_id:
                fresh.append(row)
            else:
                verdicts[row] = Verdict(False, "repeated_text", 1.0, first)
        if fresh:
            self._judge_near(samples, fresh, verdicts)
        return verdicts

    def _judge_near(self, samples: Sequence[Sample], order: list[int], verdicts: list[Verdict]) -> None:
        vectors, usable = judged(samples, self.reference)
        rows = np.array([row for row in order if usable[row]], dtype=np.int64)
        kept: list[int] = []
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            scores, found = nearest(vectors[block], vectors[kept], NEIGHBOURS)
            before = np.array(kept, dtype=np.int64)
            inside = vectors[block] @ vectors[block].T
            stays = np.zeros(len(block), dtype=bool)
            for position, row in enumerate(block.tolist()):
                rivals = np.concatenate([before[found[position]], block[:position][stays[:position]]])
                alike = np.concatenate([scores[position], inside[position, :position][stays[:position]]])
                verdicts[row] = self._verdict(samples, row, rivals, alike)
                stays[position] = verdicts[row].keep
            kept += block[stays].tolist()

    def _verdict(self, samples: Sequence[Sample], row: int, rivals: NDArray[np.int64], alike: Vectors) -> Verdict:
        low = min(threshold.value for threshold in self.thresholds.values())
        for choice in np.argsort(-alike, kind="stable"):
            if alike[choice] < low:
                break
            if alike[choice] >= self._limit(samples[row], samples[rivals[choice]]):
                return Verdict(False, "near_repeat", float(alike[choice]), samples[rivals[choice]].sample_id)
        return Verdict(True, "", float(alike.max(initial=0.0)))

    def _limit(self, sample: Sample, rival: Sample) -> float:
        if sample.subject == rival.subject:
            return self.thresholds["same_subject"].value
        own, other = (self.reference.row.get(subject) for subject in (sample.subject, rival.subject))
        base = self.reference.source_vectors
        as_items = 0.0 if own is None or other is None else float(base[own] @ base[other])
        return max(self.thresholds["similarity"].value, as_items)
