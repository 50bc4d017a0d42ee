"""Paired differences of NDCG@20 between students and arms, with intervals and corrected p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.arms import AGAIN, REAL
from eval.ranking import GROUPS
from eval.stats import holm, paired

HEADLINE, K = "ndcg", 20
LLM_PARTS = {"rewrite", "history", "review", "profile"}  # of an arm, as in history+rewrite; any llm... is one, too
ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """gain: mean paired difference of NDCG@20 with its interval; relative: over the mean of `against`, NaN if 0.

    p: two-sided, of no difference; p_holm: adjusted for the comparisons of its family, see `compare_all`.
    """

    student: str
    arm: str
    against_student: str
    against: str
    group: str
    gain: float
    low: float
    high: float
    relative: float
    users: int
    p: float
    p_holm: float

    @property
    def word(self) -> str:
        """By the corrected value. A/A and single questions are families of one, and stand uncorrected."""
        if not self.p_holm < ALPHA:
            return "no gain"
        return "gain" if self.gain > 0 else "harm"


def grid(rows: pd.DataFrame, columns: str | list[str]) -> pd.DataFrame:
    """Rows are seeds, columns users (below the metrics, where there are several)."""
    return rows.set_index(["seed", "user_id"])[columns].unstack("user_id")


def compare(scores: pd.DataFrame, ours: tuple[str, str], theirs: tuple[str, str], group: str) -> Comparison:
    """Paired by seed and user: NDCG@20 of (student, arm) `ours` less that of `theirs`."""
    column = f"{HEADLINE}@{K}"

    def values(student: str, arm: str) -> pd.DataFrame:
        chosen = (scores["student"] == student) & (scores["arm"] == arm) & (scores["group"] == group)
        return grid(scores[chosen], column)

    left, right = values(*ours).align(values(*theirs), join="inner")
    difference: NDArray[np.float64] = (left - right).to_numpy(dtype=float)
    interval, p = paired(difference)
    base = float(np.nanmean(right.to_numpy(dtype=float))) if right.size else float("nan")
    relative = interval.mean / base if base > 0 else float("nan")
    ends = (interval.mean, interval.low, interval.high)
    return Comparison(*ours, *theirs, group, *ends, relative, left.shape[1], p, p)


def by_llm(arm: str) -> bool:
    return arm.startswith("llm") or bool(LLM_PARTS.intersection(arm.split("+")))


def compare_all(scores: pd.DataFrame) -> list[Comparison]:
    """Each arm with the same student on real data, in every group; the LLM arms with every other arm, but for warm.

    A family for Holm is what one reader asks at once: of one student and group, all arms against real data, or all
    duels. The A/A arm is a family of its own: it looks for a fault, and a correction would hide it.
    """
    found = []
    for student, rows in scores.groupby("student", sort=False):
        arms = [arm for arm in rows["arm"].unique() if arm != REAL]
        found += [compare(scores, (student, arm), (student, REAL), group) for arm in arms for group in GROUPS]
        judged = [arm for arm in arms if by_llm(arm)]
        controls = [arm for arm in arms if arm != AGAIN and arm not in judged]
        duels = [((student, a), (student, b)) for a in judged for b in controls]
        found += [compare(scores, *duel, group) for duel in duels for group in ("cold", "overall")]
    return _corrected([one for one in found if one.users])


def _corrected(found: Sequence[Comparison]) -> list[Comparison]:
    families: dict[tuple[str, str, str], list[int]] = {}
    for place, one in enumerate(found):
        kind = AGAIN if one.arm == AGAIN else REAL if one.against == REAL else "duel"
        families.setdefault((one.student, one.group, kind), []).append(place)
    adjusted = np.full(len(found), np.nan)
    for places in families.values():
        adjusted[places] = holm([found[place].p for place in places])
    return [replace(one, p_holm=float(p)) for one, p in zip(found, adjusted, strict=True)]
