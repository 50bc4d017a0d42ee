"""What was worked out last, so that it is not worked out again at once: of texts, and hashes of words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

LETTERS = 1 << 22  # of the texts that are remembered at once: some 8,000 descriptions
WORDS, LONGEST = 1 << 17, 40  # words remembered, and the letters of one
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Values by key; the oldest go where more than `most` letters of keys are held."""

    def __init__(self, most: int = LETTERS) -> None:
        self.most = most
        self._values: dict[Key, tuple[Value, int]] = {}
        self._held = 0

    def get(self, key: Key, make: Callable[[], Value], size: int) -> Value:
        """size: letters that it holds."""
        found = self._values.get(key)
        if found is not None:
            return found[0]
        value = make()
        self._values[key] = value, size
        self._held += size
        while self._held > self.most and len(self._values) > 1:
            self._held -= self._values.pop(next(iter(self._values)))[1]
        return value


def digest(text: str) -> bytes:
    """16 bytes that stand for a text: among 10^12 of them two are alike once in 10^14."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class _Hashed(dict[str, int]):
    def __missing__(self, word: str) -> int:
        data = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        value = int.from_bytes(data, "little")
        if len(self) < WORDS and len(word) <= LONGEST:
            self[word] = value
        return value


_HASHED = _Hashed()


def word_hashes(words: Sequence[str]) -> NDArray[np.uint64]:
    """[len(words)] hashes of 64 bits, the same in every process."""
    return np.fromiter(map(_HASHED.__getitem__, words), np.uint64, len(words))
