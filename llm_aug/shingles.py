"""Texts that share most of their wording: exact Jaccard indices of word shingles, without comparing every pair.

Two sets with a Jaccard index of at least t share one of their |A| - ceil(t |A|) + 1 rarest shingles (prefix filtering:
Chaudhuri, Ganti and Kaushik, ICDE 2006; Bayardo, Ma and Srikant, WWW 2007), so only those are looked up.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from typing import Any

WORDS, SHORT, LETTERS = 3, 8, 5  # runs of 3 words; a text of fewer than 8 words has runs of 5 letters instead


def shingles(plain: str) -> frozenset[str]:
    """Of a text as `text.normalised` leaves it; none of ''."""
    units = plain.split()
    if len(units) >= SHORT:
        return frozenset(map(" ".join, zip(*(units[start:] for start in range(WORDS)), strict=False)))
    starts = range(max(1, len(plain) - LETTERS + 1) if plain else 0)
    return frozenset(plain[start : start + LETTERS] for start in starts)


def jaccard(one: Set[Any], other: Set[Any]) -> float:
    """Shared shingles over all shingles of both; 0 for two empty sets."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


class Overlaps:
    """Rows of `texts` (normalised) that were added, found by any row, or by any other text.

    least: the Jaccard index from which they are found, above 0.
    """

    def __init__(self, texts: Sequence[str], least: float) -> None:
        found = [shingles(text) for text in texts]
        counts = Counter(shingle for one in found for shingle in one)
        self.least = least
        self._rank = {shingle: place for place, shingle in enumerate(sorted(counts, key=counts.__getitem__))}
        self._sets = [{self._rank[shingle] for shingle in one} for one in found]
        self._rows: dict[int, list[int]] = defaultdict(list)

    def _rarest(self, known: Set[int], strange: int = 0) -> list[int]:
        """strange: how many more shingles the set has, which no row has and which are hence its rarest."""
        size = len(known) + strange
        return sorted(known)[: max(0, len(known) - math.ceil(self.least * size - 1e-9) + 1)]

    def add(self, row: int) -> None:
        for shingle in self._rarest(self._sets[row]):
            self._rows[shingle].append(row)

    def of(self, row: int) -> list[tuple[float, int]]:
        """Jaccard index and row of the added ones, highest first, then by row; without itself."""
        found = {other for shingle in self._rarest(self._sets[row]) for other in self._rows.get(shingle, ())} - {row}
        return self._ranked((self.index(row, other), other) for other in found)

    def like(self, plain: str) -> list[tuple[float, int]]:
        """As `of`, of a text that is none of the rows."""
        own = shingles(plain)
        known = {self._rank[shingle] for shingle in own if shingle in self._rank}
        strange = len(own) - len(known)
        found = {other for shingle in self._rarest(known, strange) for other in self._rows.get(shingle, ())}
        shared = ((len(known & self._sets[other]), other) for other in found)
        return self._ranked((both / (len(own) + len(self._sets[other]) - both), other) for both, other in shared)

    def _ranked(self, scored: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
        return sorted(((score, other) for score, other in scored if score >= self.least), key=lambda x: (-x[0], x[1]))

    def index(self, one: int, other: int) -> float:
        """The Jaccard index of two rows."""
        return jaccard(self._sets[one], self._sets[other])
