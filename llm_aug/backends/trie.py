"""A trie over token ids that lets a model write lists of known lines, such as lines, and nothing else.

LineTrie(["Heat", "Heat 2"], encode, ends) after the tokens of "Heat" allows " 2", a line end, and the answer's end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from llm_aug.errors import InputError


@dataclass
class _Node:
    """below: lines that end here or further on."""

    below: int = 0
    ends: bool = False
    next: dict[int, _Node] = field(default_factory=dict)


@dataclass(frozen=True)
class _Place:
    """Within a line (path, its tokens so far) or, where waiting > 0, so many tokens before a separator's end.

    done: lines that may not be said again.
    """

    node: _Node
    path: tuple[int, ...] = ()
    done: tuple[tuple[int, ...], ...] = ()
    waiting: int = 0


class LineTrie:
    """Which token may come next where an answer is a list of these lines, none twice, at most `most` of them.

    encode: text to token ids. ends: ids that end an answer, allowed after any line. Several lines and separators may
    begin with the same tokens: every way to read a prefix is followed. Raises InputError where nothing could be said.
    """

    def __init__(
        self,
        lines: Iterable[str],
        encode: Callable[[str], Sequence[int]],
        ends: Collection[int],
        separator: str = "\n",
        most: int | None = None,
    ) -> None:
        self.root = _Node()
        self.ends = frozenset(ends)
        self.separator = tuple(encode(separator))
        for path in sorted({tuple(encode(line)) for line in lines} - {()}):
            self._add(path)
        self.most = self.root.below if most is None else min(most, self.root.below)
        if self.most < 1 or not self.ends or not self.separator:
            what = "line" if self.most < 1 else "end of an answer" if not self.ends else f"separator ({separator!r})"
            raise InputError(f"only known lines may be written, but the tokenizer and the lines give no {what}")

    def _add(self, path: Sequence[int]) -> None:
        node = self.root
        node.below += 1
        for token in path:
            node = node.next.setdefault(token, _Node())
            node.below += 1
        node.ends = True

    def allowed(self, prefix: Sequence[int], without: Collection[tuple[int, ...]] = ()) -> frozenset[int]:
        """Token ids that may follow the answer's ids so far; none after an end, or where no list begins so.

        without: the token ids of lines that this answer shall not name; where that is all of them, it ends at once.
        """
        barred = tuple(sorted(path for path in set(without) if self._has(path)))
        if len(barred) == self.root.below:
            return frozenset() if prefix else self.ends
        most = min(self.most + len(barred), self.root.below)
        places = [_Place(self.root, done=barred)]
        for token in prefix:
            places = [after for place in places for _, after in self._steps(place, most, token)]
        found = {token for place in places for token, _ in self._steps(place, most)}
        return frozenset(found | (self.ends if any(_whole(place) for place in places) else set()))

    def masked(self, logits: Tensor, written: Sequence[Sequence[int]]) -> Tensor:
        """logits [rows, vocabulary] with -inf for what may not follow what each row has written."""
        left = torch.full_like(logits, -torch.inf)
        for row, ids in enumerate(written):
            allowed = torch.tensor(sorted(self.allowed(ids)), device=logits.device)
            left[row, allowed] = logits[row, allowed]
        return left

    def _has(self, path: Sequence[int]) -> bool:
        node: _Node | None = self.root
        for token in path:
            node = node.next.get(token) if node else None
        return node is not None and node.ends

    def _steps(self, place: _Place, most: int, only: int | None = None) -> list[tuple[int, _Place]]:
        """(token, where it leads), for one token or for all; most: lines named and barred."""
        if place.waiting:
            token = self.separator[-place.waiting]
            found = [(token, _Place(self.root, (), place.done, place.waiting - 1))]
            return found if only in (None, token) else []
        found = []
        for token in place.node.next if only is None else {only} & place.node.next.keys():
            path, node = (*place.path, token), place.node.next[token]
            if node.below > sum(one[: len(path)] == path for one in place.done):
                found.append((token, _Place(node, path, place.done)))
        done = (*place.done, place.path)
        if _whole(place) and len(done) < most and only in (None, self.separator[0]):
            found.append((self.separator[0], _Place(self.root, (), done, len(self.separator) - 1)))
        return found


def _whole(place: _Place) -> bool:
    return not place.waiting and place.node.ends and place.path not in place.done
