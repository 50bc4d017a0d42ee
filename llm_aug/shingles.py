"""Texts that share most of their wording: Jaccard indices of word shingles, without comparing every pair.

Two sets with a Jaccard index of at least t share one of their |A| - ceil(t |A|) + 1 rarest shingles (prefix filtering:
Chaudhuri, Ganti and Kaushik, ICDE 2006; Bayardo, Ma and Srikant, WWW 2007), so only those are looked up.
A shingle is its hash of 64 bits: among 10^8 of them two are alike once in 3,000 corpora.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from llm_aug.recent import word_hashes
from llm_aug.seeds import mixed

WORDS, SHORT, LETTERS = 3, 8, 5  # runs of 3 words; a text of fewer than 8 words has runs of 5 letters instead
BASE = 0x9E3779B97F4A7C15  # odd: a power of it never loses bits
Hashes = NDArray[np.uint64]
Ranks = NDArray[np.int32]


def rolling(values: Hashes, n: int) -> Hashes:
    """[max(0, len(values) - n + 1)]: of every n in a row the sum times powers of an odd base, modulo 2^64.

    Of 2 m values from those of m, and of one more, by the binary digits of n.
    """
    if len(values) < n:
        return np.zeros(0, np.uint64)
    found, length = values, 1
    for digit in f"{n:b}"[1:]:
        found = found[:-length] * np.uint64(pow(BASE, length, 1 << 64)) + found[length:]
        length *= 2
        if digit == "1":
            found = found[:-1] * np.uint64(BASE) + values[length:]
            length += 1
    return found


def shingles(plain: str) -> Hashes:
    """Of a text as `text.normalised` leaves it, sorted, each once; none of ''."""
    units = plain.split()
    if len(units) >= SHORT:
        found = rolling(word_hashes(units), WORDS)
    elif plain:
        letters = mixed(np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64))
        found = rolling(letters, min(LETTERS, len(plain)))
    else:
        return np.zeros(0, np.uint64)
    found.sort()
    distinct: Hashes = found[np.concatenate([[True], found[1:] != found[:-1]])]
    return distinct


def jaccard(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Shared over all of two sorted sets; 0 for two empty ones."""
    return _index(len(set(one.tolist()).intersection(other.tolist())), len(one), len(other))


def _index(shared: int, one: int, other: int) -> float:
    return shared / (one + other - shared) if shared else 0.0


class Overlaps:
    """Rows of `texts` (normalised) that were added, found by any row, or by any other text.

    least: the Jaccard index from which they are found, above 0. In memory 4 bytes of each shingle of a row, 12 of each
    that is new, and some 100 of those that are looked up.
    """

    def __init__(self, texts: Iterable[str], least: float) -> None:
        self.least = least
        hashes, ends = array("Q"), array("q", [0])
        for text in texts:
            hashes.frombytes(shingles(text).tobytes())
            ends.append(len(hashes))
        every = np.frombuffer(hashes, np.uint64) if hashes else np.zeros(0, np.uint64)
        self._known, counts = _counted(every)
        self._rank = np.empty(len(counts), np.int32)
        self._rank[np.argsort(counts, kind="stable")] = np.arange(len(counts), dtype=np.int32)
        self._ends = np.asarray(ends)
        self._ranks = np.empty(len(every), np.int32)
        for start, end in pairwise(ends):
            self._ranks[start:end] = np.sort(self._rank[np.searchsorted(self._known, every[start:end])])
        self._rows: dict[int, array[int]] = defaultdict(lambda: array("i"))

    def _set(self, row: int) -> Ranks:
        return self._ranks[self._ends[row] : self._ends[row + 1]]

    def _rarest(self, known: Ranks, strange: int = 0) -> list[int]:
        """strange: how many more shingles the set has, which no row has and which are hence its rarest."""
        size = len(known) + strange
        found: list[int] = known[: max(0, len(known) - math.ceil(self.least * size - 1e-9) + 1)].tolist()
        return found

    def add(self, row: int) -> None:
        for shingle in self._rarest(self._set(row)):
            self._rows[shingle].append(row)

    def of(self, row: int) -> list[tuple[float, int]]:
        """Jaccard index and row of the added ones, highest first, then by row; without itself."""
        own = self._set(row)
        return self._ranked(own, self._beside(self._rarest(own)) - {row}, len(own))

    def like(self, plain: str) -> list[tuple[float, int]]:
        """As `of`, of a text that is none of the rows."""
        own = shingles(plain)
        if not len(self._known):
            return []
        places = np.minimum(np.searchsorted(self._known, own), len(self._known) - 1)
        known = np.sort(self._rank[places[self._known[places] == own]])
        return self._ranked(known, self._beside(self._rarest(known, len(own) - len(known))), len(own))

    def _beside(self, rarest: Iterable[int]) -> set[int]:
        return {other for shingle in rarest for other in self._rows.get(shingle, ())}

    def _ranked(self, known: Ranks, others: Iterable[int], size: int) -> list[tuple[float, int]]:
        """size: shingles of the text, of which `known` are those that some row has."""
        return sorted(
            ((score, other) for score, other in self._scored(known, others, size) if score >= self.least),
            key=lambda x: (-x[0], x[1]),
        )

    def _scored(self, known: Ranks, others: Iterable[int], size: int) -> Iterator[tuple[float, int]]:
        own = set(known.tolist())
        for other in others:
            ranks = self._set(other)
            yield _index(len(own.intersection(ranks.tolist())), size, len(ranks)), other

    def index(self, one: int, other: int) -> float:
        """The Jaccard index of two rows."""
        return jaccard(self._set(one), self._set(other))


def _counted(every: Hashes) -> tuple[Hashes, NDArray[np.int64]]:
    """Distinct ones in order and how often each comes."""
    found = np.sort(every)
    starts = np.flatnonzero(np.concatenate([[True], found[1:] != found[:-1]])) if len(found) else np.zeros(0, np.int64)
    return found[starts], np.diff(np.append(starts, len(found)))
