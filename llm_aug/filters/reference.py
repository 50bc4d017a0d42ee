"""What samples are judged against: the real catalogue, its texts and their vectors, each computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_aug.data import Dataset, item_texts
from llm_aug.errors import InputError
from llm_aug.text import normalised
from llm_aug.vectors import Encoder, Vectors, finite, nearest, unit

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
    """training: the catalogue is judged against, the interactions too. encoder: asked once for every distinct text."""

    training: Dataset
    encoder: Encoder
    _vectors: dict[str, Vectors] = field(default_factory=dict)

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

    def encode(self, texts: Sequence[str]) -> Vectors:
        """[len(texts), d], unit rows; a row that is not `finite` has to be rejected by the caller."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if missing:
            self._vectors.update(zip(missing, self.encoder.encode(missing), strict=True))
        return np.stack([self._vectors[text] for text in texts]) if texts else np.zeros((0, 1), np.float32)

    def nearest_items(self, queries: Vectors, base: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        """As `vectors.nearest` over items, without those that have no vector."""
        usable = np.flatnonzero(finite(base))
        if not len(usable):
            raise InputError("no item of the catalogue has a text; there is nothing to compare samples with")
        scores, rows = nearest(queries, base[usable], k)
        return scores, usable[rows]

    @cached_property
    def closeness(self) -> Threshold:
        """Above this, two descriptions count as the same one: see `near_duplicate`."""
        told = list({normalised(text): text for text in self.descriptions if normalised(text)}.values())
        vectors = self.encode(told)
        vectors = vectors[finite(vectors)]
        if len(vectors) < FEWEST:
            return Threshold(LOWEST_CLOSENESS, f"default: only {len(vectors)} distinct descriptions")
        scores, _ = nearest(vectors, vectors, 2)
        measured = float(np.quantile(scores[:, 1], CLOSENESS_QUANTILE))
        value = float(np.clip(measured, LOWEST_CLOSENESS, HIGHEST_CLOSENESS))
        words = f"{CLOSENESS_QUANTILE:.1%} quantile of nearest-neighbour similarity of {len(vectors)} real descriptions"
        return Threshold(value, f"{words} ({measured:.3f}), kept in {LOWEST_CLOSENESS} to {HIGHEST_CLOSENESS}")


LOWEST_CLOSENESS, HIGHEST_CLOSENESS, CLOSENESS_QUANTILE = 0.90, 0.98, 0.999


def judged(samples: Sequence[Any], reference: Reference) -> tuple[Vectors, NDArray[np.bool_]]:
    """Vectors of the samples' texts (unit, zero where unusable) and which of them are usable."""
    vectors = reference.encode([sample.text for sample in samples])
    usable = finite(vectors)
    return unit(np.where(usable[:, None], vectors, 0)), usable
