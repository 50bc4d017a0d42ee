"""Stops a run in which nearly every answer is bad, with the reasons, instead of burning hours."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

WINDOW_SHARE = 8


class Breaker:
    """Looks at the first `window` answers, then at the last eighth of a call, but at `window` at least.

    An engine takes the longest prompts of a call first, and these may all be too long where the others are fine: a
    short window in the midst of a call would stop a good run. The first `window` answers are those of a fair sample.
    share: of bad answers in it that stops the run. calls: most requests in one call.
    """

    def __init__(self, window: int, share: float, calls: int):
        self.window = window
        self.share = share
        self._last: deque[str] = deque(maxlen=max(window, calls // WINDOW_SHARE))
        self._faults = 0

    def add(self, fault: str) -> str:
        """fault: why the answer is bad, '' where it is good. Returns '' or why to stop."""
        if len(self._last) == self._last.maxlen:
            self._faults -= bool(self._last[0])
        self._last.append(fault)
        self._faults += bool(fault)
        seen = len(self._last)
        if seen not in (self.window, self._last.maxlen) or self._faults < self.share * seen:
            return ""
        return f"{self._faults} of the last {seen} answers were bad ({listed(Counter(filter(None, self._last)))})"


def listed(reasons: Mapping[str, int], most: int = 5) -> str:
    """'truncated: 10, echo: 2', the most frequent first."""
    return ", ".join(f"{reason}: {count}" for reason, count in Counter(dict(reasons)).most_common(most))
