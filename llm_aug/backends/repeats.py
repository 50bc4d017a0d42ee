"""Keeps an answer from going round in circles: a run of n tokens is written once, or as often as its prompt has it.

"700 percent rubber and some latex, offering 700 percent rubber and some latex, offering ..." is how a small model that
copies from its prompt fails: at a word that stands in two places it jumps back. Blocking runs is Paulus et al. 2017 (A
Deep Reinforced Model for Abstractive Summarization); what the prompt itself repeats stays free, as does one copy of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import torch
from torch import Tensor

Run = tuple[int, ...]


class Repeats:
    """Of one answer as it is written. prompt: its token ids. size: tokens of a run, 1 or more."""

    def __init__(self, prompt: Sequence[int], size: int) -> None:
        self.size = size
        self._free = Counter(runs(prompt, size))
        self._said = Counter[Run]()
        self._last: Run = ()
        self._barred: dict[Run, list[int]] = {}

    def write(self, token: int) -> None:
        run = (*self._last, token)
        self._last = run[max(0, len(run) - self.size + 1) :]
        if len(run) == self.size:
            self._said[run] += 1
            if self._said[run] == max(1, self._free[run]):
                self._barred.setdefault(run[:-1], []).append(token)

    @property
    def barred(self) -> Collection[int]:
        """The ids that may not come next."""
        return self._barred.get(self._last, ()) if len(self._last) == self.size - 1 else ()


def runs(tokens: Sequence[int], size: int) -> Iterable[Run]:
    """All runs of `size` tokens, in order."""
    return zip(*(tokens[start:] for start in range(size)), strict=False)


def without(logits: Tensor, repeats: Sequence[Repeats]) -> Tensor:
    """logits [rows, vocabulary] with -inf for what each row may not say again."""
    places = [(row, token) for row, answer in enumerate(repeats) for token in answer.barred]
    if not places:
        return logits
    rows, tokens = torch.tensor(places, device=logits.device).T
    return logits.index_put((rows, tokens), logits.new_tensor(-torch.inf))
