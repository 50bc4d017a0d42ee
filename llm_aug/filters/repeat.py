"""Samples that repeat one which was kept before them: word for word, in most of their wording, or in what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_aug.chosen import chosen, joined
from llm_aug.data import Sample, Verdict
from llm_aug.filters.reference import Reference, Threshold, judged, threshold
from llm_aug.filters.schema import TEXT_KINDS
from llm_aug.greedy import keep_first
from llm_aug.recent import digest
from llm_aug.shingles import Overlaps, jaccard, shingles
from llm_aug.vectors import Vectors

BELOW = 0.05  # a kept sample's score is looked for so far below the threshold, for the borderline


@dataclass(frozen=True)
class RepeatConfig:
    """similarity: to a kept sample of another subject; same_subject: to one of the same, which is alike by nature.

    overlap: Jaccard index of word shingles with a kept sample. against: files of samples that count as kept before;
    whoever calls `filters.run` reads them and hands them over as `earlier`.
    """

    similarity: float | None = None
    same_subject: float | None = None
    overlap: float | None = None
    against: tuple[str, ...] = ()


@dataclass
class Repeat:
    """Reasons: repeated_text, lexical_repeat, near_repeat, no_vector. nearest: the kept sample's id.

    score: the Jaccard index for lexical_repeat, else the cosine, None for a kept sample that is near to none.
    Greedy in the order of sample ids, against samples of the same kind that were kept: of two alike one stays, and a
    chain a~b~c loses b alone. Earlier samples stand before all. Samples of two items may be as alike as the items are.
    Hence it is the last step: it alone sees what stays.
    """

    reference: Reference
    config: RepeatConfig
    Config: ClassVar = RepeatConfig

    def applies(self, sample: Sample) -> bool:
        return sample.kind in TEXT_KINDS

    def _is_known(self, sample: Sample) -> bool:
        return self.applies(sample) and bool(self.reference.read(sample.text))

    @cached_property
    def thresholds(self) -> dict[str, Threshold]:
        given = self.config
        near = Threshold(1.0, "") if given.similarity is not None else self.reference.closeness
        worded = Threshold(1.0, "") if given.overlap is not None else self.reference.overlap
        return {
            "similarity": threshold(given.similarity, near.value, near.source),
            "same_subject": threshold(given.same_subject, 0.98, "default: a text with a word or two changed"),
            "overlap": threshold(given.overlap, worded.value, worded.source),
        }

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        if not samples:
            return []
        known = [row for row, sample in enumerate(self.reference.earlier) if self._is_known(sample)]
        earlier = chosen(self.reference.earlier, known)
        asked = joined([earlier, samples])
        vectors, usable = judged(asked, self.reference)
        ids = [sample.sample_id for sample in asked]
        order = sorted(range(len(asked)), key=lambda row: (row >= len(earlier), ids[row]))
        order = [row for row in order if usable[row]]
        settled = int(usable[: len(earlier)].sum())
        kept = _Kept(chosen(asked, order), self.reference, self.thresholds)
        for place in range(settled):
            kept.add(place)
        reach = min(self.thresholds[name].value for name in ("similarity", "same_subject")) - BELOW
        keep_first(vectors[order], reach, kept.stays, settled)
        verdicts = [Verdict(False, "no_vector")] * len(asked)
        for place, verdict in kept.verdicts.items():
            verdicts[order[place]] = verdict
        return verdicts[len(earlier) :]


class _Kept:
    """What was kept so far, by its text, its shingles and its subject; asked once for each sample in order."""

    def __init__(self, samples: Sequence[Sample], reference: Reference, thresholds: dict[str, Threshold]) -> None:
        self.reference, self.thresholds = reference, thresholds
        self.first: dict[tuple[str, bytes], int] = {}
        self.ids: list[str] = []
        self.reads: list[bytes] = []
        kinds: list[str] = []
        subjects: list[str] = []

        def plain() -> Iterator[str]:
            for sample in samples:
                read = reference.read(sample.text)
                self.ids.append(sample.sample_id)
                self.reads.append(digest(read))
                kinds.append(sample.kind)
                subjects.append(sample.subject)
                yield read

        self.overlaps = Overlaps(plain(), thresholds["overlap"].value)
        self.items = np.array([reference.row.get(subject, -1) for subject in subjects])
        self.subjects, self.kinds = pd.factorize(np.array(subjects, dtype=object))[0], np.array(kinds, dtype=object)
        self.verdicts: dict[int, Verdict] = {}

    def add(self, row: int) -> None:
        self.first.setdefault((self.kinds[row], self.reads[row]), row)
        self.overlaps.add(row)

    def stays(self, row: int, rivals: NDArray[np.int64], scores: Vectors) -> bool:
        verdict = self._by_wording(row) or self._by_vector(row, rivals, scores)
        self.verdicts[row] = verdict
        if verdict.keep:
            self.add(row)
        return verdict.keep

    def _by_wording(self, row: int) -> Verdict | None:
        first = self.first.get((self.kinds[row], self.reads[row]))
        if first is not None:
            return Verdict(False, "repeated_text", 1.0, self.ids[first])
        for score, rival in self.overlaps.of(row):
            if self.kinds[rival] == self.kinds[row] and score >= self._shared(row, rival):
                return Verdict(False, "lexical_repeat", score, self.ids[rival])
        return None

    def _shared(self, row: int, rival: int) -> float:
        """The Jaccard index of the two items' own texts, where they are two; no threshold."""
        own, other = (int(self.items[one]) for one in (row, rival))
        if self.subjects[row] == self.subjects[rival] or own < 0 or other < 0:
            return 0.0
        return jaccard(*(shingles(self.reference.read(self.reference.sources[item])) for item in (own, other)))

    def _by_vector(self, row: int, rivals: NDArray[np.int64], scores: Vectors) -> Verdict:
        same = self.kinds[rivals] == self.kinds[row]
        rivals, scores = rivals[same], scores[same]
        if not len(rivals):
            return Verdict(True)
        repeated = scores >= self._limits(row, rivals)
        choice = int(np.argmax(np.where(repeated, scores, scores - 2 * repeated.any())))
        reason = "near_repeat" if repeated.any() else ""
        return Verdict(not reason, reason, float(scores[choice]), self.ids[rivals[choice]])

    def _limits(self, row: int, rivals: NDArray[np.int64]) -> NDArray[np.float64]:
        """[rivals]: the cosine from which each is repeated."""
        base, own, others = self.reference.source_vectors, self.items[row], self.items[rivals]
        alike = base[others] @ base[own] if own >= 0 else np.zeros(len(rivals))
        limits = np.maximum(self.thresholds["similarity"].value, np.where(others >= 0, alike, 0.0))
        return np.where(self.subjects[rivals] == self.subjects[row], self.thresholds["same_subject"].value, limits)
