"""Greedy near-duplicate removal: a row stays unless it is too near to one that stayed before it. Exact.

Most pairs are far apart, and a bound says so at a fraction of the cost: with the rows turned into their principal axes,
x.y <= x'.y' + |x''| |y''| (Cauchy-Schwarz), where ' is the first h axes and '' the rest. That is an inner product of
h + 1 numbers, which FAISS searches by range; what passes is computed in full, in float64. So the axes decide how fast
an answer comes and never which. 100,000 random rows of 384 dimensions need 81 numbers a row at a threshold of .9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from llm_aug.neighbours import Vectors, finite, spread

BLOCK = 4096  # rows searched at once
PAIRS = 4_000_000  # bounds passed at once, as a sample of rows expects them
SLACK = 1e-5  # bounds are float32: an order above their rounding
SPREAD = 20_000  # rows that say which axes are the principal ones
LOOKED = 512  # rows whose pairs say how many axes pay
GATHERED = 64  # one number of a pair that passes costs as much as so many in a matrix product (16: 1.4 times the work)
CHUNK = 1 << 16  # pairs computed in full at once

Rows = NDArray[np.int64]
Stays = Callable[[int, Rows, Vectors], bool]


def keep_first(vectors: Vectors, reach: float, stays: Stays | None = None, settled: int = 0) -> NDArray[np.bool_]:
    """[n], True for rows that stay; in the order of the rows [n, d], of which the first `settled` stay unasked.

    stays(row, rivals, scores) is asked once per row, in order: rivals are the rows that stayed before and whose inner
    product with it is at least `reach`, scores those products. Without it a row with any rival goes.
    Raises ValueError for a row that is zero or not finite.
    """
    if not finite(vectors).all():
        raise ValueError("a row is zero or not finite; mask them with finite() first")
    kept = np.zeros(len(vectors), dtype=bool)
    kept[:settled] = True
    bounds, block = _bounds(vectors, reach)
    before = _Pairs(vectors, bounds, reach)
    before.add(np.arange(settled))
    for start in range(settled, len(vectors), block):
        rows = np.arange(start, min(start + block, len(vectors)))
        inside = _Pairs(vectors, bounds, reach)
        inside.add(rows)
        for row, rivals, scores in _joined(rows, before.of(rows), inside.of(rows)):
            earlier = kept[rivals] & (rivals < row)
            rivals, scores = rivals[earlier], scores[earlier]
            kept[row] = stays(row, rivals, scores) if stays else not len(rivals)
        before.add(rows[kept[rows]])
    return kept


class _Pairs:
    """Pairs of any rows with the rows added, whose inner product reaches `reach`."""

    def __init__(self, vectors: Vectors, bounds: Vectors, reach: float) -> None:
        import faiss

        self.vectors, self.bounds, self.reach = vectors, bounds, reach
        self.index = faiss.IndexFlatIP(bounds.shape[1])
        self.rows: list[Rows] = []

    def add(self, rows: Rows) -> None:
        self.rows.append(rows)
        self.index.add(np.ascontiguousarray(self.bounds[rows]))

    def of(self, rows: Rows) -> tuple[Rows, Rows, Vectors]:
        """Row, added row and their product, of every pair; in the order of rows."""
        ends, _, places = self.index.range_search(self.bounds[rows], self.reach - SLACK)
        one = np.repeat(rows, (ends[1:] - ends[:-1]).astype(np.int64))
        other = np.concatenate([*self.rows, np.zeros(0, np.int64)])[places]
        products = np.zeros(len(one), np.float32)
        for start in range(0, len(one), CHUNK):
            some = slice(start, start + CHUNK)
            products[some] = np.einsum(
                "ij,ij->i", self.vectors[one[some]], self.vectors[other[some]], dtype=np.float64, casting="same_kind"
            )
        near = products >= self.reach
        return one[near], other[near], products[near]


def _joined(
    rows: Rows, before: tuple[Rows, Rows, Vectors], inside: tuple[Rows, Rows, Vectors]
) -> Iterator[tuple[int, Rows, Vectors]]:
    """Each row with all it pairs with and their products."""
    one, other = np.concatenate([before[0], inside[0]]), np.concatenate([before[1], inside[1]])
    products = np.concatenate([before[2], inside[2]])
    order = np.lexsort((other, one))
    one, other, products = one[order], other[order], products[order]
    ends = np.searchsorted(one, rows, side="right")
    start = 0
    for row, end in zip(rows.tolist(), ends.tolist(), strict=True):
        yield row, other[start:end], products[start:end]
        start = end


def _bounds(vectors: Vectors, reach: float) -> tuple[Vectors, int]:
    """[n, h + 1] numbers whose inner products are no less than those of the rows, and how many rows to search at once.

    h is what costs least on pairs of sampled rows. Few rows are searched as they are.
    """
    count, width = vectors.shape
    if count <= BLOCK:
        return np.ascontiguousarray(vectors, np.float32), BLOCK
    with threadpool_limits(1, "blas"):  # 0.02 s on one thread, seconds on threads that wait for busy cores
        _, axes = np.linalg.eigh(spread(vectors, SPREAD).T @ spread(vectors, SPREAD))
    turned = spread(vectors, LOOKED) @ axes[:, ::-1]
    costs: dict[int, float] = {}
    shares: dict[int, float] = {}
    for head in (*range(16, width, 16), width):
        bound = _cut(turned, head)
        passing = (bound @ bound.T >= reach).sum() - len(bound)
        shares[head] = passing / (len(bound) * (len(bound) - 1))
        costs[head] = head + GATHERED * width * shares[head]
    head = min(costs, key=costs.__getitem__)
    block = int(np.clip(PAIRS / (shares[head] * count + 1), 64, BLOCK))
    return _cut(np.asarray(vectors @ axes[:, ::-1], np.float32), head), block


def _cut(turned: Vectors, head: int) -> Vectors:
    rest = np.linalg.norm(turned[:, head:], axis=1, keepdims=True)
    return np.ascontiguousarray(np.hstack([turned[:, :head], rest]), dtype=np.float32)
