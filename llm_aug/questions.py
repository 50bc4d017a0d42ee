"""What a task asks, by number and on disk, so that a long list costs little memory; and what comes of it."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from llm_aug.data import Prompt, Reject, Request
from llm_aug.errors import LlmAugError
from llm_aug.spool import Spool
from llm_aug.tasks import Parsed

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """An answer that the engine did not give: asked again, in this run and in the next."""

    reason: str


Outcome = Parsed | Reject | Failure


HELD_LETTERS = 1 << 25  # of the first prompts, which stay in memory


class Questions:
    """The requests of a task in their order, and what could not be asked. In memory the first ones, and 8 bytes of each
    of the rest."""

    def __init__(self, task: str, entries: Iterable[Request | Reject], folder: Path) -> None:
        """Raises LlmAugError where two requests have one key."""
        self._requests, self._rejects = Spool(folder), Spool(folder)
        self._first: list[Request] = []
        self._shared: list[Any] = []
        self._places: dict[str | int, int] = {}
        keys, letters = array("q"), 0
        for entry in entries:
            if isinstance(entry, Reject):
                self._rejects.append([*vars(entry).values()])
            else:
                keys.append(_hash(entry.key))
                letters += len(entry.prompt.user)
                if letters <= HELD_LETTERS:
                    self._first.append(entry)
                    continue
                self._requests.append((self._share(type(entry)), *map(self._put, vars(entry).values())))
        self._refuse_doubled(task, np.asarray(keys, np.int64))

    def __len__(self) -> int:
        return len(self._first) + len(self._requests)

    @property
    def unasked(self) -> int:
        return len(self._rejects)

    def __getitem__(self, number: int) -> Request:
        if number < len(self._first):
            return self._first[number]
        kind, *values = self._requests[number - len(self._first)]
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


class Outcomes(dict[int, Outcome]):
    """What became of the answer to each request, by the request's number. In memory, as the answers are."""

    def of(self, kind: type[T]) -> Iterator[tuple[int, T]]:
        """(number, outcome) of this kind, in the order of the requests."""
        for number in sorted(self):
            if isinstance(outcome := self[number], kind):
                yield number, outcome
