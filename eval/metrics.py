"""Ranking metrics, each a plain function (hits, n_relevant, k) -> per-user values, and the full ranking they read.

hits: bool [users, depth], whether the item at that rank is relevant. n_relevant: int [users], all >= 1 (a user without
relevant items is left out before, not counted as zero). AUC reads the scores: it has no cut-off.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from llm_aug.seeds import mixed

Hits = NDArray[np.bool_]
Counts = NDArray[np.int64]
Values = NDArray[np.float64]
Scores = NDArray[np.float32]
Mask = NDArray[np.bool_]
Ranked = NDArray[np.int32]
Keys = NDArray[np.uint64]

FEW = 24  # relevant items up to which comparing all scores with each is quicker than sorting 1,000 to 100,000 scores
CELLS = 2**19  # scores that a thread takes at once: few enough for a cache, enough for threads to seldom meet
THREADS = os.cpu_count() or 1
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio


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
    """`rank_by_key` with a key drawn for each user in turn."""
    return rank_by_key(scores, candidates, k, ties.integers(2**64, size=len(scores), dtype=np.uint64))


def rank_by_key(scores: Scores, candidates: Mask, k: int, keys: Keys) -> Ranked:
    """The k best candidates of each row, best first: item indices [users, k], -1 where there are fewer.

    candidates: bool [users, items] or [items]. Equal scores come in a random order of the items that the user's key
    alone decides: catalogue order is popularity order in many files, and one order for all would make a constant
    scorer's figure a single draw. An item whose score is NaN is never returned, a candidate at -inf is.
    """
    users, items = scores.shape
    ranked, depth = np.full((users, k), -1, dtype=np.int32), min(k, items)
    candidates = np.broadcast_to(candidates, scores.shape)

    def work(part: slice) -> None:
        ranked[part, :depth] = _best(scores[part], candidates[part], depth, keys[part])

    _in_threads(work, users, items)
    return ranked


def _in_threads(work: Callable[[slice], None], users: int, items: int) -> None:
    """Of all users in parts; numpy lets other threads run while it reads a part."""
    size = max(1, CELLS // max(items, 1))
    parts = [slice(start, start + size) for start in range(0, users, size)]
    if len(parts) > 1 and THREADS > 1:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, parts))
    else:
        for part in parts:
            work(part)


def _best(scores: Scores, candidates: Mask, depth: int, keys: Keys) -> Ranked:
    """[users, depth]. Only users with a tie in their list or at its end are ranked one by one."""
    users, items = scores.shape
    good = scores >= _bounds(scores, candidates, depth + 1)[:, None]  # one more: a tie across the cut is a tie
    good &= candidates
    places = np.flatnonzero(good)
    lengths = counts(good)
    ends = np.cumsum(lengths)
    user = np.repeat(np.arange(users), lengths)
    item = places - user * items
    values = scores[user, item]
    width = max(depth + 1, min(lengths.max(), 4 * depth))
    column = np.arange(len(places)) - np.repeat(ends - lengths, lengths)
    kept = column < width
    negated = np.full((users, width), np.inf, dtype=scores.dtype)
    listed = np.full((users, width), -1, dtype=np.int32)
    negated[user[kept], column[kept]], listed[user[kept], column[kept]] = -values[kept], item[kept]
    order = np.argsort(negated, axis=1)[:, : depth + 1]
    top = np.take_along_axis(negated, order, axis=1)
    ranked = np.take_along_axis(listed, order[:, :depth], axis=1)
    tied = ((top[:, 1:] == top[:, :-1]) & (top[:, 1:] < np.inf)).any(axis=1)
    tied[user[values == -np.inf]] = True  # they look like the padding
    for row in np.flatnonzero(tied | (lengths > width)):
        own = slice(ends[row] - lengths[row], ends[row])
        best = _with_ties(values[own], item[own], depth, keys[row])
        ranked[row] = -1
        ranked[row, : len(best)] = best
    return ranked


def _bounds(scores: Scores, candidates: Mask, depth: int) -> Scores:
    """Of each row a score that at least `depth` candidates reach, and few more; -inf where they are fewer.

    It is the depth-th best of the maxima of groups of items, and deeper by the items that do not compete.
    """
    items = scores.shape[1]
    out = items - int(counts(candidates).min())
    if 8 * out > items:
        scores, out = np.where(candidates, scores, -np.inf), 0
    depth = min(depth + out, items)
    groups = 4 * depth
    best = scores
    if items >= 4 * groups:
        best = scores[:, : items // groups * groups].reshape(len(scores), -1, groups).max(axis=1)
    if np.isnan(best).any():
        best = np.where(np.isnan(scores), -np.inf, scores)
    last = best.shape[1] - depth
    return np.asarray(np.partition(best, last, axis=1)[:, last])


def _with_ties(values: Scores, items: NDArray[np.int64], depth: int, key: np.uint64) -> NDArray[np.int64]:
    """The best of `items`, at most `depth`, equal values by the numbers that SplitMix64 gives their places."""
    drawn = mixed(key + GOLDEN * (items + 1).astype(np.uint64))
    if len(items) > depth:
        cut = np.partition(values, len(values) - depth)[len(values) - depth]
        above, level = np.flatnonzero(values > cut), np.flatnonzero(values == cut)
        free = depth - len(above)
        level = level[drawn[level] <= np.partition(drawn[level], free - 1)[free - 1]]
        chosen = np.concatenate([above, level])
        values, items, drawn = values[chosen], items[chosen], drawn[chosen]
    return items[np.lexsort((drawn, -values))[:depth]]


def auc(scores: Scores, candidates: Mask, relevant: Mask) -> Values:
    """Share of (relevant, other candidate) pairs with the relevant one ahead, a tie counted half; NaN without others.

    It is the Mann-Whitney U of the relevant over the number of pairs. relevant: bool [users, items], all of them
    candidates, one at least. A candidate whose score is NaN stands with those at -inf.
    """
    values = np.empty(len(scores))
    candidates = np.broadcast_to(candidates, scores.shape)

    def work(part: slice) -> None:
        buffer = np.empty(FEW * scores.shape[1], dtype=bool)
        rows = zip(scores[part], candidates[part], relevant[part], strict=True)
        values[part] = [_auc(*row, buffer) for row in rows]

    _in_threads(work, *scores.shape)
    return values


def _auc(scores: Scores, candidates: Mask, relevant: Mask, buffer: Mask) -> float:
    """Of one user: [items] each; buffer: [FEW * items], written over."""
    if np.isnan(scores.max()):
        scores = np.where(np.isnan(scores), -np.inf, scores)
    marks, left_out = scores[np.flatnonzero(relevant)], np.flatnonzero(~candidates)
    pairs = len(marks) * (len(scores) - len(left_out) - len(marks))
    if not pairs:
        return float("nan")
    # of the relevant items with each other, and each with itself, half are counted, too
    twice = _twice_ahead(scores, marks, buffer) - _twice_ahead(scores[left_out], marks, buffer) - len(marks) ** 2
    return twice / 2 / pairs


def _twice_ahead(scores: Scores, marks: Scores, buffer: Mask) -> int:
    """Sum over marks of twice the scores below it and once those equal to it."""
    if len(marks) <= FEW:
        out = buffer[: len(marks) * len(scores)].reshape(len(marks), len(scores))  # fresh memory costs twice the work
        return sum(int(np.count_nonzero(side(scores, marks[:, None], out=out))) for side in (np.less, np.less_equal))
    ordered = np.sort(scores)
    return sum(int(np.searchsorted(ordered, marks, side=side).sum()) for side in ("left", "right"))


def measure(
    scores: Scores, candidates: Mask, relevant: Mask, ks: Sequence[int], keys: Keys
) -> tuple[Ranked, dict[str, Values]]:
    """The lists of max(ks) items and, by name (ndcg@10, ..., auc), a value for each user.

    scores, relevant: [users, items]; candidates: that or [items]; keys: of `rank_by_key`. Each user has a relevant
    candidate.
    """
    ranked = rank_by_key(scores, candidates, max(ks), keys)
    values = values_of(hits_of(ranked, relevant), counts(relevant), ks)
    return ranked, {**values, AUC: auc(scores, candidates, relevant)}


def counts(mask: Mask) -> Counts:
    """Of each row [users]; many times as quick as mask.sum(axis=1)."""
    return np.array([np.count_nonzero(row) for row in mask], dtype=np.int64)


def hits_of(ranked: Ranked, relevant: Mask) -> Hits:
    return np.take_along_axis(relevant, ranked, axis=1) & (ranked >= 0)


def values_of(hits: Hits, n_relevant: Counts, ks: Sequence[int]) -> dict[str, Values]:
    """ndcg@10, ...: every metric with a cut-off."""
    return {f"{name}@{k}": metric(hits, n_relevant, k) for name, metric in METRICS.items() for k in ks}
