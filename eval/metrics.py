"""Ranking metrics, each a plain function (hits, n_relevant, k) -> per-user values, and the full ranking they read.

hits: bool [users, depth], whether the item at that rank is relevant. n_relevant: int [users], all >= 1 (a user without
relevant items is left out before, not counted as zero).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Hits = NDArray[np.bool_]
Counts = NDArray[np.int64]
Values = NDArray[np.float64]


def ndcg(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """Sum of 1/log2(rank+1) over hits in the top k, divided by the same sum of a perfect ranking (binary relevance)."""
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(n_relevant, k) - 1]
    return np.asarray(hits[:, :k] @ discounts[: hits.shape[1]] / ideal)


def recall(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """Hits in the top k, divided by the number of relevant items."""
    return np.asarray(hits[:, :k].sum(axis=1) / n_relevant)


def precision(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """Hits in the top k, divided by k."""
    return np.asarray(hits[:, :k].sum(axis=1) / k)


def hit(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """1 where the top k holds at least one relevant item, else 0."""
    return hits[:, :k].any(axis=1).astype(float)


def mrr(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """1/rank of the first relevant item in the top k, 0 where there is none."""
    top = hits[:, :k]
    return np.where(top.any(axis=1), 1.0 / (top.argmax(axis=1) + 1), 0.0)


METRICS: dict[str, Callable[[Hits, Counts, int], Values]] = {
    "ndcg": ndcg,
    "recall": recall,
    "precision": precision,
    "hit": hit,
    "mrr": mrr,
}


def rank(scores: NDArray[np.float32], candidates: NDArray[np.bool_], k: int, ties: np.random.Generator) -> Counts:
    """The k best candidates of each row, best first: item indices [users, k], -1 where there are fewer.

    candidates: bool [users, items] or [items]. Equal scores come in an order drawn from `ties`, anew for each user:
    catalogue order is popularity order in many files, and one order for all would make a constant scorer's figure a
    single draw. An item whose score is NaN is never returned.
    """
    allowed = candidates & ~np.isnan(scores)
    order = ties.permuted(np.tile(np.arange(scores.shape[1], dtype=np.int32), (len(scores), 1)), axis=1)
    worst = np.finfo(np.float32).min  # a candidate at -inf still ranks above what is no candidate
    shuffled = np.take_along_axis(np.where(allowed, np.maximum(scores, worst), -np.inf), order, axis=1)
    depth = min(k, scores.shape[1])
    top = np.take_along_axis(order, np.argsort(-shuffled, axis=1, kind="stable")[:, :depth], axis=1)
    ranked = np.where(np.take_along_axis(allowed, top, axis=1), top, -1)
    return np.pad(ranked, ((0, 0), (0, k - depth)), constant_values=-1)
