"""Rows of what may be too long for memory: views that read a row when it is asked for, and runs of rows that fit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from llm_aug.data import Dataset, Sample

T = TypeVar("T")
Numbers = Sequence[int] | NDArray[np.int64]
ROWS, LETTERS = 1024, 1 << 20  # of a run at most


class Rows(Sequence[T]):
    """The values of numbers, in their order; `get` is asked anew each time."""

    def __init__(self, get: Callable[[int], T], numbers: Numbers) -> None:
        self._get, self._numbers = get, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, row: int) -> T: ...

    @overload
    def __getitem__(self, row: slice) -> Rows[T]: ...

    def __getitem__(self, row: int | slice) -> T | Rows[T]:
        if isinstance(row, slice):
            return Rows(self._get, self._numbers[row])
        return self._get(int(self._numbers[row]))

    def __iter__(self) -> Iterator[T]:
        return (self._get(int(number)) for number in self._numbers)


def chosen(values: Sequence[T], numbers: Numbers) -> Sequence[T]:
    return Rows(values.__getitem__, numbers)


def joined(parts: Sequence[Sequence[T]]) -> Sequence[T]:
    """All of the first, then all of the second, and so on."""
    ends = [0, *accumulate(map(len, parts))]

    def get(number: int) -> T:
        part = bisect_right(ends, number) - 1
        return parts[part][number - ends[part]]

    return Rows(get, range(ends[-1]))


def renamed(samples: Sequence[Sample], prefix: str) -> Sequence[Sample]:
    """With the prefix before each id."""
    return Rows(lambda row: replace(one := samples[row], sample_id=prefix + one.sample_id), range(len(samples)))


def told(dataset: Dataset, count: int, tell: Callable[[Mapping[str, Any]], str]) -> Sequence[str]:
    """What is told of each of the items, of which there are `count`."""
    return Rows(lambda row: tell(next(iter(dataset.rows([row])))), range(count))


def runs(samples: Sequence[Sample], numbers: Iterable[int]) -> Iterator[tuple[list[int], list[Sample]]]:
    """Numbers with their samples, as many at a time as ROWS and LETTERS let."""
    rows: list[int] = []
    some: list[Sample] = []
    letters = 0
    for number in numbers:
        rows.append(number)
        some.append(samples[number])
        letters += len(some[-1].text or "")
        if len(rows) == ROWS or letters >= LETTERS:
            yield rows, some
            rows, some, letters = [], [], 0
    if rows:
        yield rows, some
