"""Ranking metrics, each a plain function (hits, n_relevant, k) -> per-user values, and the full ranking they read.

hits: bool [users, depth], whether the item at that rank is relevant. n_relevant: int [users], all >= 1 (a user without
relevant items is left out before, not counted as zero). AUC reads the scores: it has no cut-off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Hits = NDArray[np.bool_]
Counts = NDArray[np.int64]
Values = NDArray[np.float64]
Scores = NDArray[np.float32]
Mask = NDArray[np.bool_]
Ranked = NDArray[np.int32]

FEW = 12  # relevant items up to which comparing all scores with each is quicker than sorting 1,000 to 100,000 scores


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


AUC = "auc"
METRICS: dict[str, Callable[[Hits, Counts, int], Values]] = {
    "ndcg": ndcg,
    "recall": recall,
    "precision": precision,
    "hit": hit,
    "mrr": mrr,
}


def rank(scores: Scores, candidates: Mask, k: int, ties: np.random.Generator) -> Ranked:
    """The k best candidates of each row, best first: item indices [users, k], -1 where there are fewer.

    candidates: bool [users, items] or [items]. Equal scores come in an order drawn from `ties`, anew for each user:
    catalogue order is popularity order in many files, and one order for all would make a constant scorer's figure a
    single draw. An item whose score is NaN is never returned, a candidate at -inf is. `ties` is advanced only as far as
    the last user who needs it.
    """
    users, items = scores.shape
    ranked = np.full((users, k), -1, dtype=np.int32)
    depth, drawn = min(k, items), 0
    everything = order = np.arange(items)
    for user, (row, allowed) in enumerate(zip(scores, np.broadcast_to(candidates, scores.shape), strict=True)):
        usable = allowed & ~np.isnan(row)
        clean = _without(row, ~usable, -np.inf)
        first = np.flatnonzero(clean >= _bound(clean, depth))
        first = first[usable[first]]  # where they are fewer than depth, the others have come in as well
        by_score = np.argsort(-clean[first], kind="stable")
        top = clean[first[by_score[: depth + 1]]]  # one more: a tie across the cut is a tie
        if (top[1:] == top[:-1]).any():
            while drawn <= user:
                order, drawn = ties.permuted(everything), drawn + 1
            first = order[np.isin(order, first, kind="table")]
            by_score = np.argsort(-clean[first], kind="stable")
        best = first[by_score[:depth]]
        ranked[user, : len(best)] = best
    return ranked


def _without(row: Scores, where: Mask, value: float) -> Scores:
    """A copy with value there: with few places many times as quick as numpy.where."""
    copy = row.copy()
    copy[np.flatnonzero(where)] = value
    return copy


def _bound(row: Scores, depth: int) -> np.float32:
    """A score that at least `depth` items reach, and few more: the depth-th best of the maxima of groups of items."""
    groups = 4 * depth
    if len(row) >= 4 * groups:
        row = row[: len(row) // groups * groups].reshape(-1, groups).max(axis=0)
    bound: np.float32 = np.partition(row, len(row) - depth)[len(row) - depth]
    return bound


def auc(scores: Scores, candidates: Mask, relevant: Mask) -> Values:
    """Share of (relevant, other candidate) pairs with the relevant one ahead, a tie counted half; NaN without others.

    It is the Mann-Whitney U of the relevant over the number of pairs. relevant: bool [users, items], all of them
    candidates, one at least. A candidate whose score is NaN stands with those at -inf.
    """
    values = np.empty(len(scores))
    for user, (row, allowed) in enumerate(zip(scores, np.broadcast_to(candidates, scores.shape), strict=True)):
        clean = _without(_without(row, np.isnan(row), -np.inf), ~allowed, np.nan)  # NaN is neither below nor equal
        marks = clean[relevant[user]]
        pairs = len(marks) * (int(np.count_nonzero(allowed)) - len(marks))
        # of the relevant items with each other, and each with itself, half are counted, too
        values[user] = (_ahead(clean, marks) - len(marks) ** 2 / 2) / pairs if pairs else np.nan
    return values


def _ahead(scores: Scores, marks: Scores) -> float:
    """Sum over marks of the scores below it and half of those equal to it."""
    if len(marks) <= FEW:
        return float(sum(np.count_nonzero(scores < mark) + np.count_nonzero(scores <= mark) for mark in marks)) / 2
    ordered = np.sort(scores)  # NaN comes last
    return float(sum(np.searchsorted(ordered, marks, side=side).sum() for side in ("left", "right"))) / 2


def measure(
    scores: Scores, candidates: Mask, relevant: Mask, ks: Sequence[int], ties: np.random.Generator
) -> tuple[Ranked, dict[str, Values]]:
    """The lists of max(ks) items and, by name (ndcg@10, ..., auc), a value for each user.

    scores, relevant: [users, items]; candidates: that or [items]. Each user has a relevant candidate.
    """
    ranked = rank(scores, candidates, max(ks), ties)
    values = values_of(hits_of(ranked, relevant), relevant.sum(axis=1), ks)
    return ranked, {**values, AUC: auc(scores, candidates, relevant)}


def hits_of(ranked: Ranked, relevant: Mask) -> Hits:
    return np.take_along_axis(relevant, ranked, axis=1) & (ranked >= 0)


def values_of(hits: Hits, n_relevant: Counts, ks: Sequence[int]) -> dict[str, Values]:
    """ndcg@10, ...: every metric with a cut-off."""
    return {f"{name}@{k}": metric(hits, n_relevant, k) for name, metric in METRICS.items() for k in ks}
