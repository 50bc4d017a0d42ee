"""Ends what hangs: a thread that hears nothing for too long says where it is, saves what it can and ends the command.

Rented machines hang in drivers, servers and file systems; a command that ends with 75 can be started again by a script.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType

from llm_aug.errors import LlmAugError, Resumable
from llm_aug.signals import GO_ON, Interrupted, uninterrupted

STALL_SECONDS = 900.0
GRACE_SECONDS = 30.0
LONGEST_TICK = 5.0  # seconds
SHOWN_FRAMES = 8


class Watchdog:
    """Around work in the main thread that calls `beat` as it gets on; in another thread it watches nothing.

    stall_seconds: how long nothing may be heard; None is for ever. told: how far the work is, in words. rescue: called
    from the watchdog's thread to write what is at hand. grace: seconds for the rescue, and again for the main thread to
    come back once it is interrupted; if it does not, because it hangs outside Python, the process ends with 75.
    Leaves by Resumable (exit code 75) where the work was found hanging.
    """

    def __init__(
        self,
        stage: str,
        told: Callable[[], str],
        stall_seconds: float | None = STALL_SECONDS,
        rescue: Callable[[], None] = lambda: None,
        grace: float = GRACE_SECONDS,
    ):
        self.stage = stage
        self.told = told
        self.stall_seconds = stall_seconds
        self.rescue = rescue
        self.grace = grace
        self.stalled = False
        self._beats = 0
        self._ended = threading.Event()
        self._deciding = threading.Lock()

    def beat(self) -> None:
        self._beats += 1

    def __enter__(self) -> Watchdog:
        if self.stall_seconds is not None and threading.current_thread() is threading.main_thread():
            threading.Thread(target=self._watch, args=(self.stall_seconds,), name="watchdog", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with uninterrupted() as caught:
            self._ended.set()
            with self._deciding:  # past this, it sends no signal any more
                pass
        if self.stalled and (kind is None or not issubclass(kind, Exception)):
            raise Resumable(self._sentence()) from None
        if caught and kind is None:
            raise Interrupted(caught[0], self.told())

    def _watch(self, stall_seconds: float) -> None:
        """Counts in ticks, not by the clock: a process that was stopped for an hour (Ctrl-Z) does not hang."""
        tick = min(stall_seconds / 20, LONGEST_TICK)
        heard, silent = self._beats, 0.0
        while silent < stall_seconds:
            if self._ended.wait(tick):
                return
            heard, silent = self._beats, (silent + tick if self._beats == heard else 0.0)
        # In threads of their own, because the disk or the terminal may be what hangs.
        last = [threading.Thread(target=work, daemon=True) for work in (self._rescue, self._speak)]
        for thread in last:
            thread.start()
        for thread in last:
            thread.join(self.grace / 2)
        for _ in range(2):  # a loop that puts off signals takes the second one
            with self._deciding:
                if self._ended.is_set():
                    return
                self.stalled = True
                _interrupt()
            if self._ended.wait(self.grace / 2):
                return
        os._exit(Resumable.exit_code)

    def _rescue(self) -> None:
        try:
            self.rescue()
        except (LlmAugError, OSError) as error:
            sys.stderr.write(f"{self.stage}: what was answered could not be written: {error}\n")

    def _speak(self) -> None:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        where = "".join(traceback.format_stack(frame)[-SHOWN_FRAMES:])
        sys.stderr.write(f"{self._sentence()}\nThe main thread is at\n{where}")
        sys.stderr.flush()

    def _sentence(self) -> str:
        return (
            f"{self.stage} hangs: nothing was heard for {_spell(self.stall_seconds or 0)}, the last was {self.told()}; "
            f"{GO_ON} from what is written, and raise engine.stall_minutes where it is only slow"
        )


def _interrupt() -> None:
    """A real signal, because only that wakes a sleeping system call."""
    ident = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and ident is not None:
        signal.pthread_kill(ident, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


def _spell(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} seconds"
