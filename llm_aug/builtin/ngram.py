"""A byte n-gram model with Witten-Bell smoothing: the yardstick beside the built-in model's bits per byte."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable


class NGram:
    """Witten and Bell (1991), interpolated: p(b | h) = (c(hb) + T(h) p(b | h')) / (c(h) + T(h)).

    T(h) is the number of different bytes seen after h, h' is h without its first byte, and below the empty history
    every byte is equally likely.
    """

    def __init__(self, texts: Iterable[str], order: int = 5) -> None:
        self.order = order
        self._seen: dict[bytes, int] = defaultdict(int)
        self._total: dict[bytes, int] = defaultdict(int)
        self._kinds: dict[bytes, int] = defaultdict(int)
        for text in texts:
            data = text.encode()
            for end in range(1, len(data) + 1):
                for start in range(max(0, end - order), end):
                    gram = data[start:end]
                    self._seen[gram] += 1
                    self._total[gram[:-1]] += 1
                    if self._seen[gram] == 1:
                        self._kinds[gram[:-1]] += 1

    def bits(self, text: str) -> float:
        """Bits that the whole text costs."""
        data = text.encode()
        return -sum(math.log2(self._probability(data, end)) for end in range(1, len(data) + 1))

    def _probability(self, data: bytes, end: int) -> float:
        probability = 1 / 256
        for start in range(end - 1, max(0, end - self.order) - 1, -1):
            gram = data[start:end]
            kinds, total = self._kinds.get(gram[:-1], 0), self._total.get(gram[:-1], 0)
            if not total:
                break
            probability = (self._seen.get(gram, 0) + kinds * probability) / (total + kinds)
        return probability
