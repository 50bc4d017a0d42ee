"""What a task asks and what becomes of it, by number and on disk: a long list costs memory for its numbers alone."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from llm_aug.data import Pair, Prompt, Reject, Request
from llm_aug.errors import LlmAugError
from llm_aug.spool import Spool
from llm_aug.tasks import Parsed

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """An answer that the engine did not give: asked again, in this run and in the next."""

    reason: str


Outcome = Parsed | Reject | Failure


class Questions:
    """The requests of a task in their order, and what could not be asked. In memory 8 bytes of each."""

    def __init__(self, task: str, entries: Iterable[Request | Reject], folder: Path) -> None:
        """Raises LlmAugError where two requests have one key."""
        self._requests, self._rejects = Spool(folder), Spool(folder)
        self._shared: list[Any] = []
        self._places: dict[str | int, int] = {}
        keys = array("q")
        for entry in entries:
            if isinstance(entry, Reject):
                self._rejects.append([*vars(entry).values()])
            else:
                keys.append(_hash(entry.key))
                self._requests.append((self._share(type(entry)), *map(self._put, vars(entry).values())))
        self._refuse_doubled(task, np.asarray(keys, np.int64))

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def unasked(self) -> int:
        return len(self._rejects)

    def __getitem__(self, number: int) -> Request:
        kind, *values = self._requests[number]
        found: Request = self._shared[kind](*map(self._got, values))
        return found

    def __iter__(self) -> Iterator[Request]:
        return (self[number] for number in range(len(self)))

    def unaskable(self) -> Iterator[Reject]:
        return (Reject(*self._rejects[number]) for number in range(len(self._rejects)))

    def _put(self, value: Any) -> Any:
        """Texts as they are; what many requests share (a system prompt, a closed set) by its number."""
        if isinstance(value, Prompt):
            return {"system": self._share(value.system), "user": value.user}
        return value if isinstance(value, str | tuple) else self._share(value)

    def _got(self, value: Any) -> Any:
        if isinstance(value, dict):
            return Prompt(self._shared[value["system"]], value["user"])
        if isinstance(value, list):
            return tuple(value)
        return self._shared[value] if isinstance(value, int) else value

    def _share(self, value: Any) -> int:
        key = value if isinstance(value, str) else id(value)
        if key not in self._places:
            self._places[key] = len(self._shared)
            self._shared.append(value)
        return self._places[key]

    def _refuse_doubled(self, task: str, hashes: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        order = np.argsort(hashes, kind="stable")
        for place in np.flatnonzero(np.diff(hashes[order]) == 0).tolist():
            one, other = (self[number].key for number in order[place : place + 2].tolist())
            if one == other:
                raise LlmAugError(f"task {task} asks twice under the key {one!r}")


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), signed=True)


class Outcomes:
    """What became of the answer to each request, by the request's number; in memory 16 bytes of each."""

    def __init__(self, folder: Path, size: int) -> None:
        self._spool = Spool(folder)
        self._places = array("q", [-1]) * size

    def __len__(self) -> int:
        """How many requests are answered."""
        return sum(place >= 0 for place in self._places)

    def __contains__(self, number: int) -> bool:
        return self._places[number] >= 0

    def __getitem__(self, number: int) -> Outcome:
        kind, *values = self._spool[self._places[number]]
        if kind == "parsed":
            text, pairs = values
            return Parsed(text, None if pairs is None else tuple(Pair(*pair) for pair in pairs))
        return Reject(*values) if kind == "rejected" else Failure(*values)

    def __setitem__(self, number: int, outcome: Outcome) -> None:
        self._places[number] = self._spool.append(_row(outcome))

    def of(self, kind: type[T]) -> Iterator[tuple[int, T]]:
        """(number, outcome) of this kind, in the order of the requests."""
        for number in range(len(self._places)):
            if number in self and isinstance(outcome := self[number], kind):
                yield number, outcome


def _row(outcome: Outcome) -> list[Any]:
    if isinstance(outcome, Parsed):
        pairs = outcome.interactions
        return ["parsed", outcome.text, None if pairs is None else [[*vars(pair).values()] for pair in pairs]]
    return ["rejected" if isinstance(outcome, Reject) else "failed", *vars(outcome).values()]
