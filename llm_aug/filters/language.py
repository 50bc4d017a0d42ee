"""Texts in the language of the catalogue: their letters follow each other as they do in its descriptions."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from llm_aug.data import Sample, Verdict
from llm_aug.filters.reference import FEWEST, Reference, Threshold, threshold
from llm_aug.filters.schema import TEXT_KINDS
from llm_aug.text import words

FEWEST_WORDS = 8  # shorter texts are names and titles, which have no language
ALPHABET = 64  # letters that follow a pair unseen: the mass that smoothing gives them
_LETTERS = re.compile(r"(?<!\w)[^\W\d_]++(?!\w)")  # words without digits: model numbers have no language
FEWEST_LETTERS = 5_000  # in all descriptions: fewer say little of what follows what
QUANTILE, MARGIN = 0.995, 0.1  # nats; of 3,230 office texts three are German: the 99.9 % quantile is their surprise
# Nats above the median of 20 to 3,000 real texts: German in an English shop begins at 0.94, and of another English
# shop's texts 2 to 5 in 100 lie beyond 0.7.
NEAREST, FARTHEST = 0.7, 0.9
LEAST = 2.7  # nats: where all descriptions follow one pattern, free English prose has 2.5 after them, German 3.1


@dataclass(frozen=True)
class LanguageConfig:
    """distance: mean surprise of a letter, in nats, from which a text counts as foreign; None measures it."""

    distance: float | None = None


@dataclass(frozen=True)
class Letters:
    """How often each letter follows the two before it."""

    triples: Counter[str]
    pairs: Counter[str]

    @staticmethod
    def of(texts: Sequence[str]) -> Letters:
        triples, pairs = Counter[str](), Counter[str]()
        for text in texts:
            found = _triples(text)
            triples.update(found)
            pairs.update(triple[:2] for triple in found)
        return Letters(triples, pairs)

    def surprise(self, text: str) -> float:
        """Mean of -ln p(letter | the two before), p smoothed by adding one over ALPHABET to each count; 0 if none."""
        found, known = _triples(text), self._costs
        cost = [known[triple] if triple in known else self._cost(triple) for triple in found]
        return sum(cost) / len(cost) if cost else 0.0

    def without(self, text: str) -> float:
        """As `surprise` of one of the texts that were counted, its own counts taken out."""
        own = Counter(_triples(text))
        heads = Counter[str]()
        for triple, count in own.items():
            heads[triple[:2]] += count
        cost = sum(count * self._cost(triple, heads[triple[:2]], count) for triple, count in own.items())
        return cost / max(1, own.total())

    @cached_property
    def _costs(self) -> dict[str, float]:
        return {triple: self._cost(triple) for triple in self.triples}

    def _cost(self, triple: str, heads: int = 0, own: int = 0) -> float:
        return math.log((self.pairs[triple[:2]] - heads + 1) / (self.triples[triple] - own + 1 / ALPHABET))


def _triples(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    line = f"  {' '.join(_LETTERS.findall(folded))} "
    return [line[start : start + 3] for start in range(len(line) - 2)] if line.strip() else []


@dataclass
class Language:
    """Reason: other_language; score: the mean surprise of its letters after the catalogue's descriptions.

    Nothing is judged where the catalogue has too few descriptions, nor texts of fewer than FEWEST_WORDS words.
    """

    reference: Reference
    config: LanguageConfig
    Config: ClassVar = LanguageConfig

    def applies(self, sample: Sample) -> bool:
        return sample.kind in TEXT_KINDS and len(words(sample.text or "")) >= FEWEST_WORDS

    @cached_property
    def _told(self) -> list[str]:
        return [text for text in self.reference.descriptions if len(words(text)) >= FEWEST_WORDS]

    @cached_property
    def _letters(self) -> Letters:
        return Letters.of(self._told)

    @cached_property
    def thresholds(self) -> dict[str, Threshold]:
        count, letters = len(self._told), sum(self._letters.triples.values())
        if self.config.distance is not None or count < FEWEST or letters < FEWEST_LETTERS:
            few = f"default: only {letters} letters in {count} real descriptions"
            return {"distance": threshold(self.config.distance, math.inf, few)}
        real = [self._letters.without(text) for text in self._told]
        middle = float(np.median(real))
        near = float(np.clip(np.quantile(real, QUANTILE) + MARGIN, middle + NEAREST, middle + FARTHEST))
        measured = max(near, LEAST)
        words_of = f"{QUANTILE:.1%} quantile of {count} real descriptions, each by the others, and {MARGIN} more"
        source = f"{words_of}, kept in {NEAREST} to {FARTHEST} above their median, {LEAST} at least"
        return {"distance": threshold(None, measured, source)}

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        limit = self.thresholds["distance"].value if samples else math.inf
        found = [self._letters.surprise(sample.text or "") for sample in samples]
        return [Verdict(score <= limit, "" if score <= limit else "other_language", score) for score in found]
