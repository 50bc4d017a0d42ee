"""How far a stage is: one line that is rewritten on a terminal, a line now and then elsewhere, and a file for `status`.

OUTPUT/progress.json  {"stage": "rewrite/describe", "done": 342, "total": 500, "tokens_per_second": 512.3,
                       "seconds_left": 95, "reasons": {"truncated": 3}, "note": "", "updated": 1760000000}
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

FILE = "progress.json"
TERMINAL_SECONDS, FILE_SECONDS, LINE_SECONDS = 0.5, 2.0, 10.0
SPEED_SECONDS = 60.0  # speeds are those of the last minute: prompts come sorted by length, so the mean misleads
TOP_REASONS, MOST_REASONS = 3, 20  # in the line, in the file


def say(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


class Meter:
    """Counts what a stage has done.

    total: of everything asked for. done: of it, before this run. folder: where the file goes; without one, as on all
    processes but the first, nothing is shown. most_seconds: after which the stage ends whatever is done.
    A stage that ends well leaves no file; one that was stopped leaves how far it got.
    """

    def __init__(
        self, stage: str, total: int, done: int = 0, folder: Path | None = None, most_seconds: float | None = None
    ):
        self.stage = stage
        self.total = total
        self.done = done
        self.tokens = 0
        self.reasons: Counter[str] = Counter()
        self.note = ""
        self.most_seconds = most_seconds
        self._path = None if folder is None else folder / FILE
        self._started = time.monotonic()
        self._marks = deque([(self._started, done, 0)])
        self._next = self._next_file = self._started
        self._next_line = self._started + LINE_SECONDS
        self._line: _Line | None = None

    def __enter__(self) -> Meter:
        if self._path is not None:
            self._line = _Line() if _on_terminal() else None
            self._show(time.monotonic())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._path is None:
            return
        if kind is None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        else:
            self._write()

    def close(self) -> None:
        """Gives the terminal back."""
        if self._line is not None:
            self._line.close()

    def advance(self, count: int = 1, tokens: int = 0, reason: str = "") -> None:
        """count: how many more are done. reason: why an answer was rejected or failed; '' for a good one."""
        self.done += count
        self.tokens += tokens
        if reason:
            self.reasons[reason] += 1
        now = time.monotonic()
        if self._path is not None and now >= self._next:
            self._show(now)

    def state(self) -> dict[str, Any]:
        """What the file holds; speeds are None until there is something to measure."""
        (then, done, tokens), now = self._marks[0], time.monotonic()
        elapsed = now - then
        rate = (self.done - done) / elapsed if elapsed > 0 else 0.0
        left = (self.total - self.done) / rate if rate > 0 else None
        if self.most_seconds is not None:
            by_clock = max(0.0, self._started + self.most_seconds - now)
            left = by_clock if left is None else min(left, by_clock)
        return {
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "tokens_per_second": round((self.tokens - tokens) / elapsed, 1) if elapsed > 0 and self.tokens else None,
            "seconds_left": None if left is None else round(left),
            "reasons": dict(self.reasons.most_common(MOST_REASONS)),
            "note": self.note,
            "updated": round(time.time()),
        }

    def told(self) -> str:
        """Of what is done alone, as in '342/500 done'."""
        return f"{self.done}/{self.total} done"

    def _show(self, now: float) -> None:
        self._next = now + TERMINAL_SECONDS
        self._marks.append((now, self.done, self.tokens))
        while now - self._marks[0][0] > SPEED_SECONDS and len(self._marks) > 2:
            self._marks.popleft()
        if self._line is not None:
            self._line.show(f"{self.stage}: {line_of(self.state())}")
        elif now >= self._next_line:
            self._next_line = now + LINE_SECONDS
            say(f"{self.stage}: {line_of(self.state())}")
        if now >= self._next_file:
            self._next_file = now + FILE_SECONDS
            self._write()

    def _write(self) -> None:
        """Whole or not at all, and never a reason to stop: on a full disk the shards say what is to be done."""
        if self._path is None:
            return
        temporary = self._path.with_name(f".{FILE}.tmp")
        with suppress(OSError):
            temporary.write_text(json.dumps(self.state()), encoding="utf-8")
            temporary.replace(self._path)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_progress(folder: Path) -> dict[str, Any] | None:
    """What a Meter wrote last; None where there is nothing, or nothing of ours."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("reasons"), dict):
        return None
    numbers = [found.get(name) for name in ("done", "total", "updated")]
    numbers += [found.get(name) or 0 for name in ("tokens_per_second", "seconds_left")]
    return found if all(isinstance(number, (int, float)) for number in numbers) else None


def line_of(state: Mapping[str, Any]) -> str:
    """'342/500, 512 tokens/s, 2 min left, truncated: 3'"""
    parts = [f"{state['done']}/{state['total']}"]
    if state.get("note"):
        parts.append(str(state["note"]))
    if state.get("tokens_per_second"):
        parts.append(f"{state['tokens_per_second']:,.0f} tokens/s")
    if state.get("seconds_left") is not None and state["done"] < state["total"]:
        parts.append(f"{spelled(state['seconds_left'])} left")
    parts += [f"{reason}: {count}" for reason, count in Counter(state["reasons"]).most_common(TOP_REASONS)]
    return ", ".join(parts)


def spelled(seconds: float) -> str:
    """40 s, 12 min, 3 h 5 min"""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class _Line:
    """One line, cut to the terminal's width; what others write to stderr meanwhile appears above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True, highlight=False), auto_refresh=False, transient=True)
        self._live.start()

    def show(self, text: str) -> None:
        from rich.text import Text

        self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def close(self) -> None:
        self._live.stop()


def _on_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
