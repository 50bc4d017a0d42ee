"""Word n-grams of a large set of texts, hashed, so that a copied passage is found without comparing texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from llm_aug.recent import Recent, word_hashes
from llm_aug.shingles import Hashes, rolling
from llm_aug.text import normalised

OWN = 4
WHOLE = 6  # words of a text that is a passage as a whole: shorter ones many people write
Table = tuple[int, Hashes, NDArray[np.int32]]  # words of a passage, their hashes in order, and whose each is
MERGED = 1 << 20  # hashes gathered before those that came before are left out


class Passages:
    """texts, each with the name of its source; the first text that holds a passage names it. n: words at least.

    whole: texts alike, of which those of WHOLE to n - 1 words are a passage too.

    Hashes are of 64 bits: among 10 million n-grams a false match is rarer than 1 in 10^12 asked. In memory 12 bytes of
    each distinct n-gram, while it is made some 40.
    """

    def __init__(self, texts: Iterable[tuple[str, str]], n: int, whole: Iterable[tuple[str, str]] = ()) -> None:
        self.n = n
        self._own = Recent[tuple[str, ...], Hashes]()
        self._sources: list[str] = []
        self._known, self._owner = np.zeros(0, np.uint64), np.zeros(0, np.int32)
        waiting: list[Hashes] = []
        count = 0
        for source, text in texts:
            said = normalised(text).split()
            if len(said) >= n:
                self._sources.append(source)
                waiting.append(rolling(word_hashes(said), n))
                count += len(waiting[-1])
                if count >= max(MERGED, len(self._known)):
                    self._merge(waiting)
                    waiting, count = [], 0
        self._merge(waiting)
        self._tables = [(n, self._known, self._owner), *self._short(whole)]

    def _short(self, whole: Iterable[tuple[str, str]]) -> Iterator[Table]:
        """The texts of each length, the longest first."""
        found: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for source, text in whole:
            said = normalised(text).split()
            if WHOLE <= len(said) < self.n:
                found[len(said)].setdefault(int(rolling(word_hashes(said), len(said))[0]), len(self._sources))
                self._sources.append(source)
        for length, owners in sorted(found.items(), reverse=True):
            known = sorted(owners)
            yield length, np.array(known, np.uint64), np.array([owners[one] for one in known], np.int32)

    def _merge(self, waiting: Sequence[Hashes]) -> None:
        """waiting: of the newest texts, one each."""
        first = len(self._sources) - len(waiting)
        owners = np.repeat(np.arange(first, len(self._sources), dtype=np.int32), [len(one) for one in waiting])
        every, owner = np.concatenate([self._known, *waiting]), np.concatenate([self._owner, owners])
        order = np.argsort(every, kind="stable")
        every = every[order]
        new = np.concatenate([np.ones(min(1, len(every)), np.bool_), every[1:] != every[:-1]])
        self._known, self._owner = every[new], owner[order[new]]

    def longest(self, said: Sequence[str], own: Sequence[str] = ()) -> tuple[int, str]:
        """Words of the longest passage of n words or more that a text shares, and its source; (0, '') without one.

        said: its words, as `text.normalised` leaves them. A passage of which every word stands in OWN words of the
        `own` texts is not counted: those are in the item's own words, in another order. One passage may go on from text
        to text.
        """
        words = word_hashes(said)
        found = (self._longest(words, table, own) for table in self._tables)
        return next((one for one in found if one[0]), (0, ""))

    def _longest(self, words: Hashes, table: Table, own: Sequence[str]) -> tuple[int, str]:
        """Of the passages of one table; words: hashes of the text's."""
        length, known, owner = table
        if len(words) < length or not len(known):
            return 0, ""
        hashes = rolling(words, length)
        places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        hit = known[places] == hashes
        if hit.any():
            strange = np.concatenate([[0], np.cumsum(~self._covered(words, self._marks(tuple(own))))])
            hit &= strange[length:] > strange[:-length]
        if not hit.any():
            return 0, ""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], hit.astype(np.int8), [0]])))
        runs = edges[1::2] - edges[::2]
        best = int(runs.argmax())
        return int(runs[best]) + length - 1, self._sources[owner[places[edges[2 * best]]]]

    def _marks(self, own: tuple[str, ...]) -> Hashes:
        """Hashes of every OWN words in a row, sorted; of the newest ones kept, since an item has several samples."""
        return self._own.get(own, lambda: self._marked(own), sum(map(len, own)))

    def _marked(self, own: tuple[str, ...]) -> Hashes:
        mine = [rolling(word_hashes(normalised(text).split()), min(OWN, self.n)) for text in own]
        return np.unique(np.concatenate([np.zeros(0, np.uint64), *mine]))

    def _covered(self, words: Hashes, marks: Hashes) -> NDArray[np.bool_]:
        """[len(words)], True for each word that stands in OWN words in a row that are marked."""
        covered = np.zeros(len(words), bool)
        if len(marks):
            length = min(OWN, self.n)
            hashes = rolling(words, length)
            marked = marks[np.minimum(np.searchsorted(marks, hashes), len(marks) - 1)] == hashes
            for place in range(length):
                covered[place : place + len(marked)] |= marked
        return covered
