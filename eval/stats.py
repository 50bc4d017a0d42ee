"""Intervals: a paired bootstrap that draws users and, where there are several, seeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from llm_aug import seeds

DRAWN = ("seeds", "users")
AT_ONCE = 250  # draws of 50,000 users in double precision are 100 MB


@dataclass(frozen=True)
class Interval:
    """mean with the 2.5 % and 97.5 % quantiles of its bootstrap distribution."""

    mean: float
    low: float
    high: float


def bootstrap(values: NDArray[np.float64], resamples: int = 2000, seed: int = 0) -> Interval:
    """values: [seeds, users], NaN where a user has no value under a seed. For a paired comparison pass differences.

    Each resample draws users with replacement (a user keeps all of his values: they are not independent) and seeds with
    replacement, and averages what is there (Efron & Tibshirani 1993, percentile interval).
    """
    present = ~np.isnan(values)
    if not present.any():
        return Interval(float("nan"), float("nan"), float("nan"))
    filled = np.where(present, values, 0.0)
    seed_draws, user_draws = (_draws(n, resamples, seed, what) for n, what in zip(values.shape, DRAWN, strict=True))
    means = np.empty(resamples)
    for start in range(0, resamples, AT_ONCE):
        of_seeds, of_users = (draws[start : start + AT_ONCE].astype(float) for draws in (seed_draws, user_draws))
        total = (of_seeds * (of_users @ filled.T)).sum(axis=1)
        count = (of_seeds * (of_users @ present.T)).sum(axis=1)
        means[start : start + AT_ONCE] = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    low, high = np.nanquantile(means, [0.025, 0.975])
    return Interval(float(filled.sum() / present.sum()), float(low), float(high))


@lru_cache(maxsize=8)
def _draws(n: int, resamples: int, seed: int, what: str) -> NDArray[np.uint8]:
    """How often each of n is drawn in each resample: [resamples, n], kept because every metric uses the same ones."""
    random = seeds.generator(seed, "bootstrap", what)
    counts = np.empty((resamples, n), dtype=np.uint8)
    for row in counts:
        row[:] = np.bincount(random.integers(0, n, n), minlength=n)
    return counts
