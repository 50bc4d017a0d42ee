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
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch.nn.functional import embedding

from llm_aug import seeds
from llm_aug.data import Dataset
from recommender.adversarial import robust
from recommender.matrix import Log, to_log
from recommender.search_space import Range, SearchSpace
from recommender.training import minimise

Array = NDArray[np.float64]


@dataclass
class MatrixFactorization:
    """regularization: added to the diagonal of each user's and item's normal equations, for biases and factors.

    adversarial: length of the step against which the factors are trained on by gradient descent, from what the least
    squares found (as APR starts from a fitted model), see recommender.adversarial; 0 is none.
    """

    factors: int = 48
    regularization: float = 3.0
    zero_weight: float = 0.1
    iterations: int = 8
    adversarial: float = 0.0
    seed: int = 0
    SPACE: ClassVar[SearchSpace] = {
        "factors": (48, 96),
        "regularization": Range(0.5, 10, log=True),
        "zero_weight": Range(0.02, 0.2, log=True),
    }

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
        if self.adversarial:
            users, items = self._hardened(weights, targets, users, items)
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

    def _hardened(self, weights: csr_matrix, targets: csr_matrix, users: Array, items: Array) -> tuple[Array, Array]:
        """Factors and biases after some epochs of the same objective with the adversarial term, users in batches."""
        sides = [torch.nn.Parameter(torch.from_numpy(side).float()) for side in (users, items)]
        zero, mean, share = self.zero_weight, float(self.mean), 1 / len(users)

        def loss(batch: torch.Tensor) -> torch.Tensor:
            some, wanted = (torch.from_numpy(part[batch.numpy()].toarray()).float() for part in (weights, targets))
            known = some.where(some > 0, torch.tensor(zero))
            rows, biases = embedding(batch, sides[0]), sides[1][:, -1]

            def of(own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
                found = mean + rows[:, -1:] + biases + own @ other.T
                return (known * (wanted - found).square()).sum() / len(batch)

            penalty = rows.square().sum() / len(batch) + share * sides[1].square().sum()
            factors = rows[:, :-1], sides[1][:, :-1]
            return robust(of(*factors) + self.regularization * penalty, of, factors, self.adversarial)

        minimise(loss, sides, len(users), _Steps(), seeds.torch_generator(self.seed, "mf"), weight_decay=0.0)
        users, items = (side.detach().numpy().astype(np.float64) for side in sides)
        return users, items

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        """A user without history gets mu + b_i."""
        index = self.users.get_indexer(users)
        user = np.where((index >= 0)[:, None], self.user_factors[index], np.float32(0))
        factors, bias = user[:, :-1] @ self.item_factors[:, :-1].T, user[:, -1:] + self.item_factors[:, -1]
        return np.where(self.warm, self.mean + bias + factors, 0).astype(np.float32)

    def variants(self) -> Iterable[MatrixFactorization]:
        return (self,)


@dataclass
class _Steps:
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 5e-3


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
