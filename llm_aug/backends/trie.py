"""Which token may come next where an answer is a list of known lines, and nothing else.

LineTrie({"Heat": [1], "Heat 2": [1, 2]}, ...) after the tokens of "Heat" allows " 2", a line end, or the answer's end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm_aug.errors import InputError

_END = -1  # stands after a line's last token and sorts before all others


@dataclass(frozen=True)
class _Place:
    """Among the lines low to high, which begin alike with `depth` tokens; or `waiting` tokens before a separator's end.

    said: numbers of the lines that are done.
    """

    low: int
    high: int
    depth: int = 0
    said: tuple[int, ...] = ()
    waiting: int = 0


class LineTrie:
    """Lists of `count` of these lines, none twice; of fewer only where fewer are left.

    lines: each with its token ids. ends: ids that end an answer. The trie is a sorted table [lines, longest + 1] of
    tokens: lines that begin alike lie together. Raises InputError where nothing could be said.
    """

    def __init__(
        self, lines: Mapping[str, Sequence[int]], separator: Sequence[int], ends: Collection[int], count: int
    ) -> None:
        paths = sorted({tuple(path) for path in lines.values()} - {()})
        numbers = {path: number for number, path in enumerate(paths)}
        self.numbers = {line: numbers[tuple(path)] for line, path in lines.items() if path}
        self.table = np.full((len(paths), max(map(len, paths), default=0) + 1), _END, dtype=np.int32)
        for number, path in enumerate(paths):
            self.table[number, : len(path)] = path
        self.separator, self.ends, self.count = tuple(separator), frozenset(ends), count
        if not (paths and self.ends and self.separator and count > 0):
            what = "line" if not paths else "end of an answer" if not self.ends else "line end"
            raise InputError(f"only known lines may be written, but the tokenizer and the lines give no {what}")

    def answer(self, barred: Iterable[str] = ()) -> LineAnswer:
        """An answer yet to be written, without the lines that it may not name; what is no line is passed over."""
        free = np.ones(len(self.table), dtype=np.bool_)
        free[[self.numbers[line] for line in barred if line in self.numbers]] = False
        return LineAnswer(self, free)


class LineAnswer:
    """One answer as it is written. free: lines that it may name. allowed: the ids that may come next, sorted.

    Several lines and separators may begin with the same tokens: every way to read what is written is followed.
    """

    def __init__(self, trie: LineTrie, free: NDArray[np.bool_]) -> None:
        self.trie, self.free = trie, free
        self.count = min(trie.count, int(free.sum()))
        self._places = [_Place(0, len(free))] if self.count else []
        self.allowed = self._allowed() if self.count else sorted(trie.ends)

    @property
    def over(self) -> bool:
        """Whether nothing but an end may follow."""
        return self.trie.ends.issuperset(self.allowed)

    def write(self, token: int) -> None:
        """The next token; after one that was not allowed, nothing is."""
        self._places = [after for place in self._places for after in self._after(place, token)]
        self.allowed = self._allowed()

    def _allowed(self) -> list[int]:
        found: set[int] = set()
        for place in self._places:
            if place.waiting:
                found.add(self.trie.separator[-place.waiting])
                continue
            tokens = self._next(place)
            found.update(tokens[tokens != _END].tolist())
            if _END in tokens[:1]:
                found |= {self.trie.separator[0]} if len(place.said) + 1 < self.count else self.trie.ends
        return sorted(found)

    def _next(self, place: _Place) -> NDArray[np.int32]:
        """The tokens that lead on to lines which may be named, sorted, with _END where one is complete."""
        free = self.free[place.low : place.high].copy()
        free[[line - place.low for line in place.said if place.low <= line < place.high]] = False
        tokens = self.trie.table[place.low : place.high, place.depth][free]
        return tokens[np.append(True, tokens[1:] != tokens[:-1])[: len(tokens)]]

    def _after(self, place: _Place, token: int) -> list[_Place]:
        lines = len(self.free)
        if place.waiting:
            fits = token == self.trie.separator[-place.waiting]
            return [_Place(0, lines, 0, place.said, place.waiting - 1)] if fits else []
        found = []
        tokens = self._next(place)
        if token in tokens:
            column = self.trie.table[place.low : place.high, place.depth]
            low, high = np.searchsorted(column, [token, token + 1]) + place.low
            found.append(_Place(int(low), int(high), place.depth + 1, place.said))
        if _END in tokens[:1] and len(place.said) + 1 < self.count and token == self.trie.separator[0]:
            said = (*place.said, place.low)
            found.append(_Place(0, lines, 0, said, len(self.trie.separator) - 1))
        return found


def masked(logits: Tensor, answers: Sequence[LineAnswer]) -> Tensor:
    """logits [rows, vocabulary] with -inf for what may not follow in each row's answer."""
    sizes = torch.tensor([len(answer.allowed) for answer in answers])
    rows = torch.arange(len(answers)).repeat_interleave(sizes)
    tokens = torch.tensor([token for answer in answers for token in answer.allowed], dtype=torch.long)
    rows, tokens = rows.to(logits.device), tokens.to(logits.device)
    left = torch.full_like(logits, -torch.inf)
    left[rows, tokens] = logits[rows, tokens]
    return left
