"""A character n-gram model with Witten-Bell smoothing: the yardstick beside the built-in model's bits per byte."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

ALPHABET = 0x110000  # code points of Unicode


class NGram:
    """Witten and Bell (1991), interpolated: p(c | h) = (n(hc) + T(h) p(c | h')) / (n(h) + T(h)).

    n counts, T(h) is the number of different characters seen after h, h' is h without its first one, and below the
    empty history every character of Unicode is equally likely.
    """

    def __init__(self, texts: Iterable[str], order: int = 5) -> None:
        self.order = order
        self._seen: dict[str, int] = defaultdict(int)
        self._total: dict[str, int] = defaultdict(int)
        self._kinds: dict[str, int] = defaultdict(int)
        for text in texts:
            for end in range(1, len(text) + 1):
                for start in range(max(0, end - order), end):
                    gram = text[start:end]
                    self._seen[gram] += 1
                    self._total[gram[:-1]] += 1
                    if self._seen[gram] == 1:
                        self._kinds[gram[:-1]] += 1

    def bits(self, text: str) -> float:
        """Bits that the whole text costs."""
        return -sum(math.log2(self._probability(text, end)) for end in range(1, len(text) + 1))

    def _probability(self, text: str, end: int) -> float:
        probability = 1 / ALPHABET
        for start in range(end - 1, max(0, end - self.order) - 1, -1):
            gram = text[start:end]
            kinds, total = self._kinds.get(gram[:-1], 0), self._total.get(gram[:-1], 0)
            if not total:
                break
            probability = (self._seen.get(gram, 0) + kinds * probability) / (total + kinds)
        return probability
