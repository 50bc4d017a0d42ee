"""What samples are judged against: the real catalogue, its texts and their vectors, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_aug.chosen import chosen, told
from llm_aug.data import Dataset, Sample, item_text
from llm_aug.errors import InputError
from llm_aug.recent import Recent, digest
from llm_aug.shingles import Overlaps
from llm_aug.text import normalised
from llm_aug.vectors import SHARD, Encoder, Index, Vectors, cache_folder, finite, nearest, unit

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

    earlier: samples that an earlier run kept, which count as kept before any sample of this one. In memory the ids of
    the items and vectors: of texts, of samples' texts that read alike, and by item of its sources and facts.
    """

    training: Dataset
    encoder: Encoder
    earlier: Sequence[Sample] = ()
    _vectors: dict[bytes, Vectors] = field(default_factory=dict)
    _reads: Recent[str, str] = field(default_factory=Recent)
    _spoken: dict[bytes, Vectors] = field(default_factory=dict)

    @cached_property
    def ids(self) -> list[str]:
        return [item for part in self.training.values("item_id") for item in part]

    @cached_property
    def row(self) -> dict[str, int]:
        """Item id -> its row in every sequence below."""
        return {item: row for row, item in enumerate(self.ids)}

    def item(self, row: int) -> dict[str, Any]:
        return next(iter(self.training.rows([row])))

    @cached_property
    def descriptions(self) -> Sequence[str]:
        return self._told(lambda item: str(item["description"]))

    @cached_property
    def facts(self) -> Sequence[str]:
        """Title and attributes of each item."""
        return self._told(self._facts_of)

    @cached_property
    def sources(self) -> Sequence[str]:
        """What a rewrite of each item starts from: its description, or its facts where there is none."""
        return self._told(lambda item: text if (text := str(item["description"])).strip() else self._facts_of(item))

    @property
    def reviews(self) -> Iterator[tuple[str, str]]:
        """Of the log, each with the item it is about."""
        log = self.training.interactions
        if "review" in log:
            yield from zip(log["item_id"], map(str, log["review"]), strict=True)

    def _told(self, tell: Callable[[Mapping[str, Any]], str]) -> Sequence[str]:
        return told(self.training, len(self.ids), tell)

    def _facts_of(self, item: Mapping[str, Any]) -> str:
        return item_text({**item, "description": ""}, self.training.attributes)

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
        """`text.normalised`, of each text once while it is remembered: equal for texts that read the same."""
        text = text or ""
        return self._reads.get(text, lambda: normalised(text), len(text))

    def encode(self, texts: Iterable[str]) -> Vectors:
        """[texts, d], unit rows; a row that is not `finite` has to be rejected by the caller."""
        return _stacked([self._vectors[key] for key in self._encoded(texts)])

    def _encoded(self, texts: Iterable[str]) -> list[bytes]:
        """The digest of each text, which then has a vector; SHARD of those without one are in memory at once."""
        keys: list[bytes] = []
        missing: dict[bytes, str] = {}
        for text in texts:
            keys.append(digest(text))
            if keys[-1] not in self._vectors:
                missing[keys[-1]] = text
                if len(missing) == SHARD:
                    self._encode(missing)
                    missing = {}
        self._encode(missing)
        return keys

    def _encode(self, texts: Mapping[bytes, str]) -> None:
        if texts:
            self._vectors.update(zip(texts, self.encoder.encode(list(texts.values())), strict=True))

    def nearest_items(self, queries: Vectors, base: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        """As `Index.search` over items, without those that have no vector."""
        usable = np.flatnonzero(finite(base))
        if not len(usable):
            raise InputError("no item of the catalogue has a text; there is nothing to compare samples with")
        scores, rows = Index(base[usable], folder=cache_folder() / "indices").search(queries, k)
        return scores, usable[rows]

    def encode_samples(self, samples: Sequence[Sample]) -> Vectors:
        """As `encode`; of texts that read the same, the first by sample id is encoded and speaks for the others."""
        ids, reads = [], []
        for sample in samples:
            ids.append(sample.sample_id)
            reads.append(digest(self.read(sample.text) or (sample.text or "")))
        new: dict[bytes, int] = {}
        for row in sorted(range(len(ids)), key=ids.__getitem__):
            if reads[row] not in self._spoken:
                new.setdefault(reads[row], row)
        rows = sorted(new.values())
        keys = self._encoded(sample.text or "" for sample in chosen(samples, rows))
        self._spoken.update((reads[row], self._vectors[key]) for row, key in zip(rows, keys, strict=True))
        return _stacked([self._spoken[read] for read in reads])

    @cached_property
    def _distinct(self) -> Sequence[str]:
        """Descriptions, one of those that read the same."""
        found: dict[bytes, int] = {}
        for row, text in enumerate(self.descriptions):
            if read := self.read(text):
                found[digest(read)] = row
        return chosen(self.descriptions, list(found.values()))

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
        overlaps = Overlaps(map(self.read, self._distinct), lowest)
        for row in range(len(self._distinct)):
            overlaps.add(row)
        scores = [max((score for score, _ in overlaps.of(row)), default=0.0) for row in range(len(self._distinct))]
        return _among_items(np.array(scores), f"overlap (from {lowest})", *OVERLAP)


def _stacked(vectors: Sequence[Vectors]) -> Vectors:
    return np.stack(vectors) if vectors else np.zeros((0, 1), np.float32)


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
    vectors[~usable] = 0
    return unit(vectors), usable
