"""Whether synthetic rows lie nearer to the rows they were learnt from than to rows like them that nobody saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm_aug.errors import InputError
from llm_aug.neighbours import Vectors, nearest

TIE = 1e-6  # cosine distances this near are equal: below it is rounding


def dcr_share(synthetic: Vectors, training: Vectors, holdout: Vectors) -> float:
    """Share of synthetic rows whose closest record is a training row: mean of [d_t < d_h] + [d_t = d_h] / 2.

    d is the cosine distance to the closest record (DCR) of unit rows [n, d]. 0.5 where training and holdout are of one
    size and nothing was memorised, 1 where every row is nearer to what was seen. After Platzer and Reutterer,
    "Holdout-Based Empirical Assessment of Mixed-Type Synthetic Data" (2021). Raises InputError for an empty set.
    """
    return _nearer(_distances(synthetic, training, 1)[:, 0], _distances(synthetic, holdout, 1)[:, 0])


def nndr(synthetic: Vectors, real: Vectors) -> NDArray[np.float64]:
    """[n] ratio in 0 to 1 of the distance to the closest real row to that to the second closest; 1 where both are 0.

    Near 0: the row singles out one real row. Raises InputError for fewer than two real rows.
    """
    if len(real) < 2:
        raise InputError(f"a ratio of two neighbours needs two real rows, not {len(real)}")
    first, second = _distances(synthetic, real, 2).T
    return np.where(second <= TIE, 1.0, first / np.maximum(second, TIE))


def nndr_share(synthetic: Vectors, training: Vectors, holdout: Vectors) -> float:
    """As dcr_share with the ratio of `nndr` in place of the distance."""
    return _nearer(nndr(synthetic, training), nndr(synthetic, holdout))


def _distances(queries: Vectors, base: Vectors, k: int) -> NDArray[np.float64]:
    """[n, k] cosine distances to the k closest rows, never below 0."""
    if not len(queries) or not len(base):
        raise InputError(f"distances need rows on both sides, not {len(queries)} and {len(base)}")
    scores, _ = nearest(queries, base, k)
    return np.maximum(0.0, 1.0 - scores.astype(np.float64))


def _nearer(to_training: NDArray[np.float64], to_holdout: NDArray[np.float64]) -> float:
    tied = np.abs(to_training - to_holdout) <= TIE
    return float(np.mean(np.where(tied, 0.5, to_training < to_holdout)))
