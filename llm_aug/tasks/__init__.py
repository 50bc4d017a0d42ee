"""What we ask an LLM: one file per task behind one protocol, and the one table that names them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, runtime_checkable

from llm_aug.data import Completion, Dataset, Example, Kind, Pair, Reject, Request
from llm_aug.registry import check_options, named

TASKS = {
    "rewrite": "llm_aug.tasks.rewrite:Rewrite",
    "history": "llm_aug.tasks.history:History",
    "review": "llm_aug.tasks.review:Review",
    "profile": "llm_aug.tasks.profile:Profile",
}


class Rejected(Exception):
    """Raised by `parse`: the answer does not become a sample. reason is a slug, as in 'truncated'."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Parsed:
    """What an answer says, in words and as the interactions that go with them: a review and its rating."""

    text: str | None
    interactions: tuple[Pair, ...] | None


Answered = str | tuple[Pair, ...] | Parsed


class Task(Protocol):
    """name: task/style. kind: of its samples. stage: what its rejects are filed under. prompt_hash: of the template."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def stage(self) -> str: ...
    @property
    def prompt_hash(self) -> str: ...

    def requests(self, dataset: Dataset) -> Iterable[Request | Reject]:
        """What to ask, in an order in which a longer run begins with the shorter one; a Reject cannot be asked."""

    def parse(self, request: Request, completion: Completion) -> Answered:
        """The sample's text or interactions, or both. finish is 'stop' or 'length'. Raises Rejected."""

    def examples(self, dataset: Dataset) -> Iterator[Example]:
        """Fine-tuning pairs of the same shape as the requests, from training data alone."""


@runtime_checkable
class Measured(Protocol):
    """A task that counts more than its rejects."""

    def metrics(self) -> dict[str, Any]:
        """Of the answers parsed so far."""


@runtime_checkable
class Closed(Protocol):
    """A task whose answers may be held to lists of known lines. constrained: whether they are; events: lines of each.

    The lines are known once the requests are made.
    """

    constrained: bool
    events: int

    def titles(self) -> Sequence[str]:
        """All lines."""

    def barred(self, request: Request) -> Sequence[str]:
        """The lines that the answer to this request may not name."""


def is_held(task: Task) -> TypeGuard[Closed]:
    """Whether the model may write known lines alone."""
    return isinstance(task, Closed) and task.constrained


def reads_interactions(task: Task) -> bool:
    """Whether its prompts or examples may show rows of the log; so they may unless its class says otherwise."""
    return bool(getattr(task, "reads_interactions", True))


def task_class(name: str) -> Any:
    """The class behind a name, whose fields are the task's options. Raises InputError for an unknown name."""
    return named("task", name, TASKS)


def load_task(name: str, **options: Any) -> Task:
    """Raises InputError for an unknown name or an option that the task does not have."""
    make = task_class(name)
    check_options(f"task {name!r}", options, make)
    task: Task = make(**options)
    return task
