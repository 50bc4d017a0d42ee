"""Intervals: a paired bootstrap that draws users and, where there are several, seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_aug import seeds


@dataclass(frozen=True)
class Interval:
    """mean with the 2.5 % and 97.5 % quantiles of its bootstrap distribution."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def bootstrap(values: NDArray[np.float64], resamples: int = 2000, seed: int = 0) -> Interval:
    """values: [seeds, users], NaN where a user has no value under a seed. For a paired comparison pass differences.

    Each resample draws users with replacement (a user keeps all of his values: they are not independent) and seeds with
    replacement, and averages what is there (Efron & Tibshirani 1993, percentile interval).
    """
    present = ~np.isnan(values)
    if not present.any():
        return Interval(float("nan"), float("nan"), float("nan"))
    filled = np.where(present, values, 0.0)
    random = seeds.generator(seed, "bootstrap")
    n_seeds, n_users = values.shape
    seed_draws = random.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=resamples)
    means = np.empty(resamples)
    for start in range(0, resamples, 250):  # 250 draws of 50,000 users are 100 MB
        chunk = seed_draws[start : start + 250]
        user_draws = random.multinomial(n_users, np.full(n_users, 1 / n_users), size=len(chunk))
        total = (chunk * (user_draws @ filled.T)).sum(axis=1)
        count = (chunk * (user_draws @ present.T)).sum(axis=1)
        means[start : start + 250] = np.divide(total, count, out=np.full(len(chunk), np.nan), where=count > 0)
    low, high = np.nanquantile(means, [0.025, 0.975])
    return Interval(float(filled.sum() / present.sum()), float(low), float(high))
