"""What tuning may choose for a student: its options by name, each with the values it may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """The numbers from low to high, of three digits. log: each doubling has the same chance."""

    low: float
    high: float
    log: bool = False

    def at(self, share: float) -> float:
        """The value below which this share of the range lies."""
        if self.log:
            return self.rounded(self.low * (self.high / self.low) ** share)
        return self.rounded(self.low + share * (self.high - self.low))

    def rounded(self, value: float) -> float:
        return min(max(float(f"{value:.3g}"), self.low), self.high)


SearchSpace = Mapping[str, Range | Sequence[Any]]
