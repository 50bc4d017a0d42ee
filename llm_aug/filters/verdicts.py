"""What one step said of each sample, in columns: 17 bytes a sample, and the words that its verdicts hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np

from llm_aug.data import Verdict

UNASKED = -1


class Said(Sequence["Verdict | None"]):
    """Verdicts by the row of their sample, None where the step did not judge it. A score of NaN is none."""

    def __init__(self, size: int) -> None:
        self.scores = np.full(size, np.nan)
        self.codes = np.full(size, UNASKED, np.int8)
        self.nearest = np.full(size, "", dtype=object)
        self.reasons = [""]  # by code

    def put(self, row: int, verdict: Verdict) -> None:
        if verdict.reason not in self.reasons:
            self.reasons.append(verdict.reason)
        self.codes[row] = self.reasons.index(verdict.reason)
        self.nearest[row] = verdict.nearest
        if verdict.score is not None:
            self.scores[row] = verdict.score

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, row: int) -> Verdict | None: ...

    @overload
    def __getitem__(self, row: slice) -> list[Verdict | None]: ...

    def __getitem__(self, row: int | slice) -> Verdict | list[Verdict | None] | None:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        if self.codes[row] == UNASKED:
            return None
        reason = self.reasons[self.codes[row]]
        return Verdict(not reason, reason, self.score(row), self.nearest[row])

    def score(self, row: int) -> float | None:
        return None if np.isnan(self.scores[row]) else float(self.scores[row])
