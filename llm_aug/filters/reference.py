"""What samples are judged against: the real catalogue, its texts and their vectors, each computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_aug.data import Dataset, Sample, item_texts
from llm_aug.errors import InputError
from llm_aug.shingles import Overlaps
from llm_aug.text import normalised
from llm_aug.vectors import Encoder, Index, Vectors, finite, nearest, unit

FEWEST = 20  # a quantile of fewer texts says nothing


@dataclass(frozen=True)
class Threshold:
    """value, and in words where it comes from: 'set by you', or what was measured on the real catalogue."""

    value: float
    source: str


def threshold(given: float | None, measured: float, source: str) -> Threshold:
    return Threshold(float(measured), source) if given is None else Threshold(float(given), "set by you")


@dataclass
class Reference:
    """training: the catalogue is judged against, the interactions too. encoder: asked once for every distinct text.

    earlier: samples that an earlier run kept, which count as kept before any sample of this one.
    """

    training: Dataset
    encoder: Encoder
    earlier: tuple[Sample, ...] = ()
    _vectors: dict[str, Vectors] = field(default_factory=dict)
    _reads: dict[str, str] = field(default_factory=dict)
    _speakers: dict[str, str] = field(default_factory=dict)

    @cached_property
    def ids(self) -> list[str]:
        return list(self.training.items["item_id"])

    @cached_property
    def row(self) -> dict[str, int]:
        """Item id -> its row in every array below."""
        return {item: row for row, item in enumerate(self.ids)}

    @cached_property
    def descriptions(self) -> list[str]:
        return [str(text) for text in self.training.items["description"]]

    @cached_property
    def facts(self) -> list[str]:
        """Title and attributes of each item."""
        return item_texts(Dataset(self.training.items.assign(description=""), self.training.interactions))

    @cached_property
    def sources(self) -> list[str]:
        """What a rewrite of each item starts from: its description, or its facts where there is none."""
        return [told if told.strip() else known for told, known in zip(self.descriptions, self.facts, strict=True)]

    @cached_property
    def fact_vectors(self) -> Vectors:
        return self.encode(self.facts)

    @cached_property
    def source_vectors(self) -> Vectors:
        return self.encode(self.sources)

    @property
    def faces(self) -> tuple[Vectors, Vectors]:
        return self.source_vectors, self.fact_vectors

    def read(self, text: str | None) -> str:
        """`text.normalised`, of each text once: equal for texts that read the same."""
        text = text or ""
        found = self._reads.get(text)
        return self._reads.setdefault(text, normalised(text)) if found is None else found

    def encode(self, texts: Sequence[str]) -> Vectors:
        """[len(texts), d], unit rows; a row that is not `finite` has to be rejected by the caller."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if missing:
            self._vectors.update(zip(missing, self.encoder.encode(missing), strict=True))
        return np.stack([self._vectors[text] for text in texts]) if texts else np.zeros((0, 1), np.float32)

    def nearest_items(self, queries: Vectors, base: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        """As `Index.search` over items, without those that have no vector."""
        usable = np.flatnonzero(finite(base))
        if not len(usable):
            raise InputError("no item of the catalogue has a text; there is nothing to compare samples with")
        scores, rows = Index(base[usable]).search(queries, k)
        return scores, usable[rows]

    def encode_samples(self, samples: Sequence[Sample]) -> Vectors:
        """As `encode`; of texts that read the same, the first by sample id is encoded and speaks for the others."""
        reads = [self.read(sample.text) or (sample.text or "") for sample in samples]
        for row in sorted(range(len(samples)), key=lambda row: samples[row].sample_id):
            self._speakers.setdefault(reads[row], samples[row].text or "")
        return self.encode([self._speakers[read] for read in reads])

    @cached_property
    def _distinct(self) -> list[str]:
        """Descriptions, one of those that read the same."""
        return list({self.read(text): text for text in self.descriptions if self.read(text)}.values())

    @cached_property
    def closeness(self) -> Threshold:
        """Above this cosine, two descriptions count as the same one: see `near_duplicate`."""
        vectors = self.encode(self._distinct)
        vectors = vectors[finite(vectors)]
        scores = nearest(vectors, vectors, 2)[0][:, 1] if len(vectors) >= FEWEST else np.zeros(len(vectors))
        return _among_items(scores, "similarity", *CLOSENESS)

    @cached_property
    def overlap(self) -> Threshold:
        """Above this Jaccard index of shingles, two descriptions count as the same one: see `lexical`."""
        lowest = OVERLAP[0] / 2
        overlaps = Overlaps([self.read(text) for text in self._distinct], lowest)
        for row in range(len(self._distinct)):
            overlaps.add(row)
        scores = [max((score for score, _ in overlaps.of(row)), default=0.0) for row in range(len(self._distinct))]
        return _among_items(np.array(scores), f"overlap (from {lowest})", *OVERLAP)


QUANTILE = 0.999  # of the texts that are there, so few count as a copy of another
CLOSENESS = 0.90, 0.98, 0.90  # lowest, highest and default threshold
OVERLAP = 0.70, 0.90, 0.80  # a word changed in 30 leaves .8, one in 60 leaves .9


def _among_items(scores: NDArray[Any], name: str, lowest: float, highest: float, default: float) -> Threshold:
    """The QUANTILE of what each description scores with its nearest other one."""
    if len(scores) < FEWEST:
        return Threshold(default, f"default: only {len(scores)} distinct descriptions")
    measured = float(np.quantile(scores, QUANTILE))
    words = f"{QUANTILE:.1%} quantile of nearest-neighbour {name} of {len(scores)} real descriptions"
    return Threshold(
        float(np.clip(measured, lowest, highest)), f"{words} ({measured:.3f}), kept in {lowest} to {highest}"
    )


def judged(samples: Sequence[Sample], reference: Reference) -> tuple[Vectors, NDArray[np.bool_]]:
    """Vectors of the samples' texts (unit, zero where unusable) and which of them are usable."""
    vectors = reference.encode_samples(samples)
    usable = finite(vectors)
    return unit(np.where(usable[:, None], vectors, 0)), usable
