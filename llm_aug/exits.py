"""From an exception to an exit code and one sentence on stderr; a traceback for bugs, or where it is asked for."""

from __future__ import annotations

import errno
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from llm_aug.errors import LlmAugError, Resumable
from llm_aug.signals import GO_ON, Interrupted, handled

DEBUG = "LLM_AUG_DEBUG"
BUG, RESUMABLE, INTERRUPTED, BROKEN_PIPE = 1, Resumable.exit_code, 130, 141
PATIENCE = 10.0  # seconds after a first signal in which another one waits until what is at hand is written


@contextmanager
def exit_codes() -> Iterator[None]:
    """Leaves by SystemExit with the code that the exception calls for. Around a whole command, in the main thread."""
    try:
        with _terminable():
            yield
    except BrokenPipeError:  # whoever read our output has enough: `llm-aug status RUN | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    except (Exception, KeyboardInterrupt) as error:
        code, words = _outcome(error)
        if code == BUG or os.environ.get(DEBUG, "") not in ("", "0"):
            traceback.print_exc()
        sys.stderr.write(f"error: {words}\n")
        sys.exit(code)


@contextmanager
def _terminable() -> Iterator[None]:
    """The first signal raises Interrupted; those that follow soon wait, so that they cannot cut the writing short."""
    first: list[float] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if not first or time.monotonic() - first[-1] > PATIENCE:
            first.append(time.monotonic())
            raise Interrupted(number)

    with handled(stop):
        yield


def _outcome(error: BaseException) -> tuple[int, str]:
    words = " ".join(str(error).split())
    if isinstance(error, LlmAugError) and error.exit_code != BUG:
        return error.exit_code, words
    if isinstance(error, KeyboardInterrupt):
        return getattr(error, "exit_code", INTERRUPTED), words or f"stopped; {GO_ON}"
    if isinstance(error, MemoryError) or _of_an_engine(error):
        return RESUMABLE, f"memory ran out ({words or 'no details'}); use less of it and run again"
    no_scratch = isinstance(error, FileNotFoundError) and "temporary directory" in words  # how tempfile tells it
    if no_scratch or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return RESUMABLE, f"the disk is full ({words}); free some space and run again"
    return BUG, f"this is a bug of llm-aug: {type(error).__name__}: {words}"


def _of_an_engine(error: BaseException) -> bool:
    """Whether torch says in one of its wordings that memory ran out; without torch loaded it cannot."""
    if "torch" not in sys.modules:
        return False
    from llm_aug.backends.batching import is_memory_error

    return is_memory_error(error)
