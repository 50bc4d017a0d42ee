"""Intervals and p-values: a paired bootstrap that draws users or items and, where there are several, seeds; Holm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from llm_aug import seeds

Values = NDArray[np.float64]
AT_ONCE = 250  # draws of 50,000 users in double precision are 100 MB


@dataclass(frozen=True)
class Interval:
    """mean with the 2.5 % and 97.5 % quantiles of its bootstrap distribution."""

    mean: float
    low: float
    high: float


def bootstrap(values: Values, resamples: int = 2000, seed: int = 0) -> Interval:
    """values: [seeds, users], NaN where a user has no value under a seed.

    Each resample draws users with replacement (a user keeps all of his values: they are not independent) and seeds with
    replacement, and averages what is there (Efron & Tibshirani 1993, percentile interval).
    """
    return _interval(values, (~np.isnan(values)).astype(float), resamples, seed, "users")[0]


def paired(
    differences: Values, weights: Values | None = None, over: str = "users", resamples: int = 2000, seed: int = 0
) -> tuple[Interval, float]:
    """As `bootstrap`, and the two-sided p-value of a mean of zero.

    differences: [seeds, users], or [seeds, items] with over='items'; NaN where there is none.
    weights: of the same shape; a mean over pairs takes the pairs of each item, so that it is resampled by items.
    p is twice the share of resampled means on the other side of zero or on it, (1 + found) / (1 + resamples)
    (Davison & Hinkley 1997), and thus never below 2 / (1 + resamples): Holm over more than resamples / 40 comparisons
    can find nothing.
    """
    present = ~np.isnan(differences)
    interval, means = _interval(differences, present * (1.0 if weights is None else weights), resamples, seed, over)
    known = means[~np.isnan(means)]
    if not len(known):
        return interval, float("nan")
    beyond = min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
    return interval, min(1.0, 2 * (1 + beyond) / (1 + len(known)))


def holm(p_values: Sequence[float]) -> Values:
    """Adjusted for the number of them: below alpha with a familywise error of at most alpha (Holm 1979).

    The i-th smallest of m times (m - i + 1), at least its predecessor, at most 1. NaN stays and is not counted.
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def _interval(values: Values, weights: Values, resamples: int, seed: int, over: str) -> tuple[Interval, Values]:
    """The interval and the resampled means; weights are zero where values are NaN."""
    if not weights.any():
        return Interval(float("nan"), float("nan"), float("nan")), np.empty(0)
    filled = np.where(weights > 0, values, 0.0) * weights
    seed_draws, column_draws = (
        _draws(n, resamples, seed, what) for n, what in zip(values.shape, ("seeds", over), strict=True)
    )
    means = np.empty(resamples)
    for start in range(0, resamples, AT_ONCE):
        of_seeds, of_columns = (draws[start : start + AT_ONCE].astype(float) for draws in (seed_draws, column_draws))
        total = (of_seeds * (of_columns @ filled.T)).sum(axis=1)
        weight = (of_seeds * (of_columns @ weights.T)).sum(axis=1)
        means[start : start + AT_ONCE] = np.divide(total, weight, out=np.full(len(total), np.nan), where=weight > 0)
    low, high = np.nanquantile(means, [0.025, 0.975])
    return Interval(float(filled.sum() / weights.sum()), float(low), float(high)), means


@lru_cache(maxsize=8)
def _draws(n: int, resamples: int, seed: int, what: str) -> NDArray[np.uint8]:
    """How often each of n is drawn in each resample: [resamples, n], kept because every metric uses the same ones."""
    random = seeds.generator(seed, "bootstrap", what)
    counts = np.empty((resamples, n), dtype=np.uint8)
    for row in counts:
        row[:] = np.bincount(random.integers(0, n, n), minlength=n)
    return counts
