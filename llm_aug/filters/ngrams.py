"""Word n-grams of a large set of texts, hashed, so that a copied passage is found without comparing texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from llm_aug.seeds import mixed
from llm_aug.text import normalised

_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: a power of it never loses bits
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
        hashes: list[NDArray[np.uint64]] = []
        for source, text in texts:
            said = normalised(text).split()
            if len(said) >= n:
                self._sources.append(source)
                hashes.append(_hashes([self._ids.setdefault(word, len(self._ids) + 1) for word in said], n))
        every = np.concatenate(hashes) if hashes else np.zeros(0, np.uint64)
        owners = np.repeat(np.arange(len(hashes)), [len(found) for found in hashes])
        self._known, first = np.unique(every, return_index=True)
        self._owner = owners[first]

    def longest(self, text: str, own: Sequence[str] = ()) -> tuple[int, str]:
        """Words of the longest passage of n words or more that a text shares, and its source; (0, '') without one.

        A passage of which every word stands in OWN words of the `own` texts is not counted: those are in the item's own
        words, in another order. One passage may go on from text to text.
        """
        said = normalised(text).split()
        if len(said) < self.n or not len(self._known):
            return 0, ""
        ids = [self._ids.get(word, UNKNOWN) for word in said]
        hashes = _hashes(ids, self.n)
        places = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        hit = self._known[places] == hashes
        if hit.any():
            strange = np.concatenate([[0], np.cumsum(~self._covered(ids, self._marks(tuple(own))))])
            hit &= strange[self.n :] > strange[: -self.n]
        edges = np.flatnonzero(np.diff(np.concatenate([[0], hit.astype(np.int8), [0]])))
        if not len(edges):
            return 0, ""
        lengths = edges[1::2] - edges[::2]
        best = int(lengths.argmax())
        return int(lengths[best]) + self.n - 1, self._sources[self._owner[places[edges[2 * best]]]]

    def _marks(self, own: tuple[str, ...]) -> NDArray[np.uint64]:
        """Hashes of every OWN words in a row; kept, since an item has several samples."""
        if own not in self._own:
            length = min(OWN, self.n)
            mine = [
                _hashes([self._ids.get(word, UNKNOWN) for word in normalised(text).split()], length) for text in own
            ]
            self._own[own] = np.unique(np.concatenate([np.zeros(0, np.uint64), *mine]))
        return self._own[own]

    def _covered(self, ids: Sequence[int], marks: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """[len(ids)], True for each word that stands in OWN words in a row that are marked."""
        length = min(OWN, self.n)
        starts = np.flatnonzero(np.isin(_hashes(ids, length), marks))
        covered = np.zeros(len(ids), bool)
        covered[(starts[:, None] + np.arange(length)).ravel()] = True
        return covered


def _hashes(ids: Sequence[int], n: int) -> NDArray[np.uint64]:
    """[max(0, len(ids) - n + 1)]: sum of mixed ids times powers of an odd base, modulo 2^64."""
    words = mixed(np.array(ids, dtype=np.uint64))
    count = max(0, len(ids) - n + 1)
    found = np.zeros(count, np.uint64)
    for place in range(n if count else 0):
        found = found * _BASE + words[place : place + count]
    return found
