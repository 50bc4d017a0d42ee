"""Biased matrix factorisation, score(u, i) = mu + b_u + b_i + <p_u, q_i> (Koren, Bell, Volinsky 2009), by ALS.

Targets are the ratings, scaled so that the highest is 1 and the lowest of the scale (0 or less) is 0; a pair without
one counts as the mean rating, and as 1 in a log without ratings. All other pairs of warm items are targets of 0, too,
with the small weight `zero_weight` (AllRank, Steck 2010: ratings are not missing at random, and a model of the given
ones alone ranks badly). A pair of weight w counts zero_weight + w (1 - zero_weight). Items without history score 0,
what a missing pair has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from llm_aug import seeds
from llm_aug.data import Dataset
from recommender.matrix import Log, to_log

Array = NDArray[np.float64]


@dataclass
class MatrixFactorization:
    """regularization: added to the diagonal of each user's and item's normal equations, for biases and factors."""

    factors: int = 48
    regularization: float = 3.0
    zero_weight: float = 0.1
    iterations: int = 8
    seed: int = 0
    GRID: ClassVar[Sequence[dict[str, Any]]] = tuple(
        {"regularization": strength, "zero_weight": zero} for strength in (3.0, 1.0) for zero in (0.1, 0.05)
    )

    def fit(self, dataset: Dataset) -> MatrixFactorization:
        log = to_log(dataset)
        self.users, self.warm = log.users, log.warm
        columns = np.flatnonzero(self.warm)
        weights = csr_matrix(log.matrix[:, columns], dtype=np.float64)
        targets = csr_matrix(target_matrix(dataset, log)[:, columns])
        weights.data = self.zero_weight + weights.data * (1 - self.zero_weight)
        given, everything = weights.data, weights.shape[0] * weights.shape[1]
        whole = given.sum() + self.zero_weight * (everything - len(given))
        self.mean = np.array((given * targets.data).sum() / whole)
        draw = seeds.generator(self.seed, "mf")
        users = np.zeros((len(log.users), self.factors + 1))  # the last column is the bias
        items = np.hstack([draw.normal(0, 0.1, (len(columns), self.factors)), np.zeros((len(columns), 1))])
        sides = (weights, targets), (csr_matrix(weights.T), csr_matrix(targets.T))
        for _ in range(self.iterations):
            users = self._solve(*sides[0], items)
            items = self._solve(*sides[1], users)
        self.user_factors = users.astype(np.float32)
        self.item_factors = np.zeros((len(log.items), self.factors + 1), np.float32)
        self.item_factors[columns] = items
        return self

    def _solve(self, weights: csr_matrix, targets: csr_matrix, other: Array) -> Array:
        """Factors and bias of each row, those of the columns given: weighted ridge regressions, one per row."""
        design = np.hstack([other[:, :-1], np.ones((len(other), 1))])
        fixed = self.mean + other[:, -1]
        gram = self.zero_weight * design.T @ design + self.regularization * np.eye(design.shape[1])
        right = -self.zero_weight * (fixed @ design)
        left, rights = np.tile(gram, (weights.shape[0], 1, 1)), np.tile(right, (weights.shape[0], 1))
        for row, (start, end) in enumerate(zip(weights.indptr[:-1], weights.indptr[1:], strict=True)):
            at, weight = weights.indices[start:end], weights.data[start:end]
            some = design[at]
            left[row] += (some * (weight - self.zero_weight)[:, None]).T @ some
            rights[row] += (weight * (targets.data[start:end] - fixed[at]) + self.zero_weight * fixed[at]) @ some
        return np.asarray(np.linalg.solve(left, rights[:, :, None])[:, :, 0])

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        """A user without history gets mu + b_i."""
        index = self.users.get_indexer(users)
        user = np.where((index >= 0)[:, None], self.user_factors[index], np.float32(0))
        factors, bias = user[:, :-1] @ self.item_factors[:, :-1].T, user[:, -1:] + self.item_factors[:, -1]
        return np.where(self.warm, self.mean + bias + factors, 0).astype(np.float32)

    def variants(self) -> Iterable[MatrixFactorization]:
        return (self,)


def target_matrix(dataset: Dataset, log: Log) -> csr_matrix:
    """Scaled ratings of the pairs of the log, in its order; of several rows of a pair the heaviest and highest."""
    rows = dataset.interactions[["user_id", "item_id", "weight", "rating"]]
    rated = rows[rows["weight"] > 0].sort_values(["weight", "rating"], na_position="first")
    rated = rated.drop_duplicates(["user_id", "item_id"], keep="last").set_index(["user_id", "item_id"])["rating"]
    coo = log.matrix.tocoo()
    pairs = pd.MultiIndex.from_arrays([log.users[coo.row], log.items[coo.col]])
    ratings = rated.reindex(pairs).to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(ratings)
    if not known.any():
        scaled = np.ones(len(ratings))
    else:
        low = min(0.0, ratings[known].min())
        span = max(ratings[known].max() - low, 1e-9)
        scaled = (np.where(known, ratings, ratings[known].mean()) - low) / span
    return csr_matrix((scaled, log.matrix.indices, log.matrix.indptr), shape=log.matrix.shape)
