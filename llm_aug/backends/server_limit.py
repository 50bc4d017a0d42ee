"""How many requests a server gets at once: additive increase, multiplicative decrease (Chiu and Jain 1989).

Up to the first refusal it doubles, as a connection does that has just begun (slow start, Jacobson 1988).
"""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST = 8


@dataclass
class Limit:
    """most: requests in flight at most. now: those allowed at present. until: no request starts before this time.

    in_a_row: refusals without an answer in between, those of requests that were on their way together counted once.
    Times are seconds of one monotonic clock.
    """

    most: int
    now: float = field(init=False)
    until: float = 0.0
    in_a_row: int = 0
    _cut: float | None = None

    def __post_init__(self) -> None:
        self.now = float(min(FIRST, self.most))

    def admits(self, in_flight: int, time: float) -> bool:
        return time >= self.until and in_flight < int(self.now)

    def answered(self, in_flight: int) -> None:
        """One more for each full round of answers, or for each answer at first, where the limit was in use."""
        self.in_a_row = 0
        if in_flight >= int(self.now):
            self.now = min(float(self.most), self.now + (1 if self._cut is None else 1 / self.now))

    def refused(self, started: float, time: float, wait: float | None = None) -> None:
        """Half, once for all requests that were on their way together. wait: seconds in which none may start."""
        if self._cut is None or started > self._cut:
            self.now = max(1.0, self.now / 2)
            self._cut = time
            self.in_a_row += 1
        if wait is not None:
            self.pause(time + wait)

    def pause(self, until: float) -> None:
        self.until = max(self.until, until)
