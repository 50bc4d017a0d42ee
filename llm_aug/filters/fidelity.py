"""Rewrites that are about their own item, and yet not its old text again: a band of similarity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llm_aug import seeds
from llm_aug.data import Sample, Verdict
from llm_aug.filters.reference import FEWEST, Reference, Threshold, judged, threshold
from llm_aug.text import sentences
from llm_aug.vectors import Vectors, finite

COMPETITORS = 10
BLOCK = 256  # texts whose competitors' vectors are gathered at once
SHORTENED, QUANTILE = 300, 0.02  # real texts of which every second sentence is taken; of their margins
LOWEST, MARGIN = -0.1, 0.01
# Cosine to the own item. Half of what shortened real texts have: a rewrite is further away, yet of rewrites by rule the
# nearest to none has 0.5 (MiniLM), 0.5 (hash) or 0.8 (tfidf), and a gym's advertisement beside a pen -0.05 (MiniLM).
FLOOR, HIGHEST_FLOOR = 0.1, 0.25
CHANGED, FEW = 0.10, 2  # share of the words, or so many of them: the vector hardly moves with word order and synonyms


@dataclass(frozen=True)
class FidelityConfig:
    """margin: by how much its own item has to be nearer than any other; None measures what shortened real texts have,
    since catalogues hold variants. floor: cosine to its own item at least, measured alike. copy: cosine to its source
    at most, of texts in which hardly a word has changed.
    """

    margin: float | None = None
    floor: float | None = None
    copy: float | None = None


@dataclass
class Fidelity:
    """Reasons: unfaithful (nearest is the item it resembles more, score the margin; or its own item, which it does not
    resemble, without a score), copy (score the cosine).

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
        given = self.config.margin, self.config.floor
        margin, floor = (Threshold(0, ""), Threshold(0, "")) if None not in given else self._measured
        return {
            "margin": threshold(self.config.margin, margin.value, margin.source),
            "floor": threshold(self.config.floor, floor.value, floor.source),
            "copy": threshold(self.config.copy, 0.98, "default: a text with a word or two changed"),
        }

    @property
    def _measured(self) -> tuple[Threshold, Threshold]:
        """What honest rewrites have: real descriptions with half of their sentences."""
        reference = self.reference
        rows = [row for row, text in enumerate(reference.descriptions) if len(sentences(text)) > 1]
        if len(rows) < FEWEST:
            few = f"default: only {len(rows)} real descriptions of several sentences"
            return Threshold(MARGIN, few), Threshold(FLOOR, few)
        drawn = seeds.generator(0, "fidelity").permutation(rows)[:SHORTENED]
        vectors = reference.encode([" ".join(sentences(reference.descriptions[row])[::2]) for row in drawn])
        usable = finite(vectors)
        if not usable.any():
            none = "default: no real description has a vector"
            return Threshold(MARGIN, none), Threshold(FLOOR, none)
        faces = [self._margins(vectors[usable], drawn[usable], base) for base in reference.faces]
        words = f"{QUANTILE:.0%} quantile of {usable.sum()} real descriptions with every second sentence"
        margin = float(np.quantile(np.maximum(*(margins for margins, *_ in faces)), QUANTILE))
        floor = float(np.quantile(np.maximum(*(cosines for *_, cosines in faces)), QUANTILE))
        return (
            Threshold(float(np.clip(margin, LOWEST, MARGIN)), f"{words} ({margin:.3f}), kept in {LOWEST} to {MARGIN}"),
            Threshold(
                float(np.clip(floor / 2, FLOOR, HIGHEST_FLOOR)),
                f"half of the {words} ({floor:.3f}), kept in {FLOOR} to {HIGHEST_FLOOR}",
            ),
        )

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        if not samples:
            return []
        reference = self.reference
        vectors, usable = judged(samples, reference)
        own = np.array([reference.row[sample.subject] for sample in samples])
        copied = np.zeros(len(own), np.float32)
        for start in range(0, len(own), BLOCK):
            some = slice(start, start + BLOCK)
            copied[some] = (vectors[some] * reference.source_vectors[own[some]]).sum(axis=1)
        verdicts = [Verdict(False, "no_vector")] * len(samples)
        faces = [self._margins(vectors[usable], own[usable], base) for base in reference.faces]
        for order, row in enumerate(np.flatnonzero(usable).tolist()):
            margin, rival = max((float(margins[order]), int(rivals[order])) for margins, rivals, _ in faces)
            cosine = max(float(cosines[order]) for *_, cosines in faces)
            verdicts[row] = self._verdict(margin, rival, (cosine, float(copied[row])), samples[row])
        return verdicts

    def _margins(
        self, vectors: Vectors, own: NDArray[np.int64], base: Vectors
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Cosine to the own item less that to the best other one, the other one's row (-1: none), and the cosine."""
        margins, rivals = np.full(len(vectors), -np.inf), np.full(len(vectors), -1)
        cosines = np.full(len(vectors), -np.inf)
        if not finite(base).any():  # as the facts of a catalogue of descriptions alone
            return margins, rivals, cosines
        _, near = self.reference.nearest_items(vectors, base, COMPETITORS + 1)
        for start in range(0, len(vectors), BLOCK):
            some = slice(start, start + BLOCK)
            found, item = near[some], base[own[some]]
            other = ~(_inner(base[found], item[:, None]) >= self.reference.closeness.value) & (found != own[some, None])
            rival = np.take_along_axis(found, other.argmax(axis=1)[:, None], axis=1)[:, 0]
            beside = np.where(other.any(axis=1), _inner(vectors[some], base[rival]), np.float32(-1))
            cosines[some] = _inner(vectors[some], item)
            margins[some] = cosines[some] - beside
            rivals[some] = np.where(other.any(axis=1), rival, -1)
        return np.nan_to_num(margins, nan=-np.inf, posinf=-np.inf), rivals, np.nan_to_num(cosines, nan=-np.inf)

    def _verdict(self, margin: float, rival: int, cosines: tuple[float, float], sample: Sample) -> Verdict:
        """cosines: to the better face of its item, and to its source."""
        own, copied = cosines
        if margin < self.thresholds["margin"].value:
            return Verdict(False, "unfaithful", margin, self.reference.ids[rival] if rival >= 0 else "")
        if own < self.thresholds["floor"].value:
            return Verdict(False, "unfaithful", nearest=sample.subject)
        if copied > self.thresholds["copy"].value:
            source = self.reference.sources[self.reference.row[sample.subject]]
            if _is_hardly_changed(*(self.reference.read(text).split() for text in (sample.text, source))):
                return Verdict(False, "copy", copied, sample.subject)
        return Verdict(True, "", margin, sample.subject)


def _inner(one: Vectors, other: Vectors) -> Vectors:
    """[...] of [..., d] and [..., d], which may be 1 long where the other is longer; each as by `vector @ vector`."""
    found: Vectors = (one[..., None, :] @ other[..., :, None])[..., 0, 0]
    return found


def _is_hardly_changed(said: Sequence[str], told: Sequence[str]) -> bool:
    """Whether of the words of the longer one, counted as often as they come, few are not in the other one."""
    longer = max(len(said), len(told))
    return longer - (Counter(said) & Counter(told)).total() <= max(FEW, CHANGED * longer)
