"""Texts in the language of the catalogue: their letters follow each other as they do in its descriptions."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from llm_aug.chosen import chosen
from llm_aug.data import Sample, Verdict
from llm_aug.filters.reference import FEWEST, Reference, Threshold, threshold
from llm_aug.filters.schema import TEXT_KINDS
from llm_aug.text import ASCII_RUNS, WORD

FEWEST_WORDS = 8  # shorter texts are names and titles, which have no language
ALPHABET = 64  # letters that follow a pair unseen: the mass that smoothing gives them
_LETTERS = re.compile(r"(?<!\w)[^\W\d_]++(?!\w)")  # words without digits: model numbers have no language
_BITS = 21  # of a code point
Codes = NDArray[np.int64]
FEWEST_LETTERS = 5_000  # in all descriptions: fewer say little of what follows what
QUANTILE, MARGIN = 0.995, 0.1  # nats; of 3,230 office texts three are German: the 99.9 % quantile is their surprise
# Nats above the median of 20 to 3,000 real texts: German in an English shop begins at 0.94, and of another English
# shop's texts 2 to 5 in 100 lie beyond 0.7.
NEAREST, FARTHEST = 0.7, 0.9
# Or so many times the distance of the quartiles: 0.1 in English shops, 1.2 where each letter is a syllable or a word.
SPREAD = 2
LEAST = 2.7  # nats: where all descriptions follow one pattern, free English prose has 2.5 after them, German 3.1


@dataclass(frozen=True)
class LanguageConfig:
    """distance: mean surprise of a letter, in nats, from which a text counts as foreign; None measures it."""

    distance: float | None = None


@dataclass(frozen=True)
class Letters:
    """How often each letter follows the two before it. triples, pairs: letters in one number, see `_triples`."""

    triples: Counter[int]
    pairs: Counter[int]

    @staticmethod
    def of(texts: Iterable[str]) -> Letters:
        triples, pairs = Counter[int](), Counter[int]()
        for text in texts:
            triples.update(_triples(text).tolist())
        for triple, count in triples.items():
            pairs[triple >> _BITS] += count
        return Letters(triples, pairs)

    def surprise(self, text: str) -> float:
        """Mean of -ln p(letter | the two before), p smoothed by adding one over ALPHABET to each count; 0 if none."""
        found, (known, _, _) = _triples(text), self._sorted
        if not len(found):
            return 0.0
        places = np.searchsorted(known, found)
        costs = self._costs[places]
        for row in np.flatnonzero(known[places] != found).tolist():
            costs[row] = math.log((self.pairs[int(found[row]) >> _BITS] + 1) * ALPHABET)
        return float(sum(costs.tolist())) / len(found)  # one by one: as exact a sum whatever the processor

    def without(self, text: str) -> float:
        """As `surprise` of one of the texts that were counted, its own counts taken out."""
        own, first, times = np.unique(_triples(text), return_index=True, return_counts=True)
        known, counts, heads = self._sorted
        places, (_, pair) = np.searchsorted(known, own), np.unique(own >> _BITS, return_inverse=True)
        costs = times * _costs(heads[places] - np.bincount(pair, times)[pair], counts[places] - times)
        return float(sum(costs[np.argsort(first)].tolist())) / max(1, int(times.sum()))

    @cached_property
    def _sorted(self) -> tuple[Codes, Codes, Codes]:
        """Triples in order, their counts and those of their pairs; at the end one that is larger than any."""
        known = sorted(self.triples)
        counts = [self.triples[triple] for triple in known]
        heads = [self.pairs[triple >> _BITS] for triple in known]
        return np.array([*known, np.iinfo(np.int64).max]), np.array([*counts, 0]), np.array([*heads, 0])

    @cached_property
    def _costs(self) -> NDArray[np.float64]:
        _, counts, heads = self._sorted
        return _costs(heads, counts)


def _costs(heads: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.float64]:
    return np.array([math.log(odds) for odds in ((heads + 1) / (counts + 1 / ALPHABET)).tolist()])


def _triples(text: str) -> Codes:
    """Every three letters in a row as one number, of _BITS bits each; words are a space apart, after two at first."""
    if text.isascii():
        said = [run for run in text.translate(ASCII_RUNS).split() if run.isalpha()]  # as by _LETTERS
    else:
        said = _LETTERS.findall(unicodedata.normalize("NFKC", text).casefold())
    line = f"  {' '.join(said)} "
    if line.isspace():
        return np.zeros(0, np.int64)
    codes = np.frombuffer(line.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.int64)
    return (codes[:-2] << 2 * _BITS) | (codes[1:-1] << _BITS) | codes[2:]


def _has_language(text: str) -> bool:
    return len(list(islice(WORD.finditer(text), FEWEST_WORDS))) == FEWEST_WORDS


@dataclass
class Language:
    """Reason: other_language; score: the mean surprise of its letters after the catalogue's descriptions.

    Nothing is judged where the catalogue has too few descriptions, nor texts of fewer than FEWEST_WORDS words. A text
    no more surprising than its own item's description stays, unless `distance` is set: that item is told in another
    language.
    """

    reference: Reference
    config: LanguageConfig
    Config: ClassVar = LanguageConfig

    def applies(self, sample: Sample) -> bool:
        return sample.kind in TEXT_KINDS and _has_language(sample.text or "")

    @cached_property
    def _told(self) -> Sequence[str]:
        texts = self.reference.descriptions
        return chosen(texts, [row for row, text in enumerate(texts) if _has_language(text)])

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
        low, middle, high = np.quantile(real, (0.25, 0.5, 0.75))
        far = max(FARTHEST, SPREAD * float(high - low))
        near = float(np.clip(np.quantile(real, QUANTILE) + MARGIN, middle + NEAREST, middle + far))
        measured = max(near, LEAST)
        words_of = f"{QUANTILE:.1%} quantile of {count} real descriptions, each by the others, and {MARGIN} more"
        source = f"{words_of}, kept in {NEAREST} to {far:.2g} above their median, {LEAST} at least"
        return {"distance": threshold(None, measured, source)}

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        limit = self.thresholds["distance"].value if samples else math.inf
        return [self._verdict(sample, limit) for sample in samples]

    def _verdict(self, sample: Sample, limit: float) -> Verdict:
        score = self._letters.surprise(sample.text or "")
        keep = score <= limit or (self.config.distance is None and score <= self._own(sample.subject))
        return Verdict(keep, "" if keep else "other_language", score)

    def _own(self, subject: str) -> float:
        """The surprise of an item's own description after the others."""
        row = self.reference.row.get(subject)
        text = "" if row is None else self.reference.descriptions[row]
        return self._letters.without(text) if _has_language(text) else 0.0
