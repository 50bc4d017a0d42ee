"""From an exception to an exit code and one sentence on stderr; a traceback for bugs, or where it is asked for."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from llm_aug.errors import LlmAugError, Resumable

DEBUG = "LLM_AUG_DEBUG"
BUG, RESUMABLE, INTERRUPTED, TERMINATED, BROKEN_PIPE = 1, Resumable.exit_code, 130, 143, 141


class Terminated(KeyboardInterrupt):
    """A polite kill: as with Ctrl-C, what is at hand is written on the way out."""

    exit_code = TERMINATED


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
    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _outcome(error: BaseException) -> tuple[int, str]:
    words = " ".join(str(error).split())
    if isinstance(error, LlmAugError) and error.exit_code != BUG:
        return error.exit_code, words
    if isinstance(error, KeyboardInterrupt):
        return getattr(error, "exit_code", INTERRUPTED), words or "stopped; run the same command again to go on"
    if isinstance(error, MemoryError) or _of_an_engine(error):
        return RESUMABLE, f"memory ran out ({words or 'no details'}); use less of it and run again"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RESUMABLE, f"the disk is full ({words}); free some space and run again"
    return BUG, f"this is a bug of llm-aug: {type(error).__name__}: {words}"


def _of_an_engine(error: BaseException) -> bool:
    """Whether torch says in one of its wordings that memory ran out; without torch loaded it cannot."""
    if "torch" not in sys.modules:
        return False
    from llm_aug.backends.batching import is_memory_error

    return is_memory_error(error)
