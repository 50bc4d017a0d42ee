"""SIGINT and SIGTERM: an exception that says how far the work got, or put off where nothing may be cut short."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM)
GO_ON = "run the same command again to go on"


class Interrupted(KeyboardInterrupt):
    """exit_code: 130 after Ctrl-C, 143 after a polite kill. done: how far the work got, in words."""

    def __init__(self, number: int, done: str = ""):
        super().__init__(f"stopped by {signal.Signals(number).name}{done and f', {done}'}; {GO_ON}")
        self.number = number
        self.exit_code = 128 + number


def number_of(stop: KeyboardInterrupt) -> int:
    """The signal behind it; a plain KeyboardInterrupt is Python's own for Ctrl-C."""
    return stop.number if isinstance(stop, Interrupted) else signal.SIGINT


@contextmanager
def deferred_interrupts() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying in the middle of a step; a second one kills as ever."""
    caught: list[int] = []
    before: dict[int, Any] = {}

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, before[number])

    with handled(catch, before):
        yield caught


@contextmanager
def uninterrupted() -> Iterator[list[int]]:
    """Collects every SIGINT and SIGTERM: for the short writing of what must not be lost."""
    caught: list[int] = []
    with handled(lambda number, frame: caught.append(number)):
        yield caught


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None], before: dict[int, Any] | None = None) -> Iterator[None]:
    """before: takes the handlers that were there. Other threads than the main one can set none: nothing changes.

    A signal that is ignored, as SIGINT is behind `nohup` or `&`, stays ignored.
    """
    before = {} if before is None else before
    if threading.current_thread() is threading.main_thread():
        there = {number: signal.getsignal(number) for number in STOPS}
        before |= {number: old for number, old in there.items() if old not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
