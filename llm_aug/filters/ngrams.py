"""Word n-grams of a large set of texts, hashed, so that a copied passage is found without comparing texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from llm_aug.seeds import mixed
from llm_aug.text import normalised

_BASE = 0x9E3779B97F4A7C15  # odd: a power of it never loses bits
UNKNOWN = 0
OWN = 4


class Passages:
    """texts, each with the name of its source; the first text that holds a passage names it. n: words at least.

    Hashes are of 64 bits: among 10 million n-grams a false match is rarer than 1 in 10^12 asked.
    """

    def __init__(self, texts: Iterable[tuple[str, str]], n: int) -> None:
        self.n = n
        self._ids: dict[str, int] = {}
        self._own: dict[tuple[str, ...], NDArray[np.uint64]] = {}
        self._sources: list[str] = []
        numbered: list[NDArray[np.int64]] = []
        for source, text in texts:
            said = normalised(text).split()
            if len(said) >= n:
                self._sources.append(source)
                numbered.append(np.array([self._ids.setdefault(word, len(self._ids) + 1) for word in said]))
        self._mixed = mixed(np.arange(len(self._ids) + 1, dtype=np.uint64))
        hashes = [_hashes(self._mixed[ids], n) for ids in numbered]
        every = np.concatenate(hashes) if hashes else np.zeros(0, np.uint64)
        owners = np.repeat(np.arange(len(hashes)), [len(found) for found in hashes])
        self._known, first = np.unique(every, return_index=True)
        self._owner = owners[first]

    def longest(self, said: Sequence[str], own: Sequence[str] = ()) -> tuple[int, str]:
        """Words of the longest passage of n words or more that a text shares, and its source; (0, '') without one.

        said: its words, as `text.normalised` leaves them. A passage of which every word stands in OWN words of the
        `own` texts is not counted: those are in the item's own words, in another order. One passage may go on from text
        to text.
        """
        if len(said) < self.n or not len(self._known):
            return 0, ""
        words = self._words(said)
        hashes = _hashes(words, self.n)
        places = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        hit = self._known[places] == hashes
        if hit.any():
            strange = np.concatenate([[0], np.cumsum(~self._covered(words, self._marks(tuple(own))))])
            hit &= strange[self.n :] > strange[: -self.n]
        if not hit.any():
            return 0, ""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], hit.astype(np.int8), [0]])))
        lengths = edges[1::2] - edges[::2]
        best = int(lengths.argmax())
        return int(lengths[best]) + self.n - 1, self._sources[self._owner[places[edges[2 * best]]]]

    def _words(self, said: Sequence[str]) -> NDArray[np.uint64]:
        return self._mixed[[self._ids.get(word, UNKNOWN) for word in said]] if said else np.zeros(0, np.uint64)

    def _marks(self, own: tuple[str, ...]) -> NDArray[np.uint64]:
        """Hashes of every OWN words in a row, sorted; kept, since an item has several samples."""
        if own not in self._own:
            length = min(OWN, self.n)
            mine = [_hashes(self._words(normalised(text).split()), length) for text in own]
            self._own[own] = np.unique(np.concatenate([np.zeros(0, np.uint64), *mine]))
        return self._own[own]

    def _covered(self, words: NDArray[np.uint64], marks: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """[len(words)], True for each word that stands in OWN words in a row that are marked."""
        covered = np.zeros(len(words), bool)
        if len(marks):
            length = min(OWN, self.n)
            hashes = _hashes(words, length)
            marked = marks[np.minimum(np.searchsorted(marks, hashes), len(marks) - 1)] == hashes
            for place in range(length):
                covered[place : place + len(marked)] |= marked
        return covered


def _hashes(words: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """[max(0, len(words) - n + 1)]: sum of mixed ids times powers of an odd base, modulo 2^64.

    Of 2 m words from those of m, and of one more, by the binary digits of n.
    """
    if len(words) < n:
        return np.zeros(0, np.uint64)
    found, length = words, 1
    for digit in f"{n:b}"[1:]:
        found = found[:-length] * np.uint64(pow(_BASE, length, 1 << 64)) + found[length:]
        length *= 2
        if digit == "1":
            found = found[:-1] * np.uint64(_BASE) + words[length:]
            length += 1
    return found
