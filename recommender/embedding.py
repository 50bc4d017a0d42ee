"""Two towers: an item is its text through a linear map plus an embedding of its own; a user is the mean of his items.

score(u, i) = <mean_j z_j, z_i> / (|.| |.| temperature), j over the items of u. Trained by softmax over all items with
history, the target taken out of the profile. An item's own embedding is dropped at random in training (as in
DropoutNet, Volkovs et al. 2017), so that the text alone has to carry items without history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch.nn.functional import cross_entropy, embedding, normalize

from llm_aug import seeds
from llm_aug.data import Dataset
from recommender.adversarial import robust
from recommender.features import dense_vectors, lexical_components, mean_rows, new_dense_vectors, vocabulary
from recommender.live import history_rows, newcomers, widened
from recommender.matrix import to_log
from recommender.search_space import Range, SearchSpace
from recommender.training import minimise, projection


@dataclass
class TwoTower:
    """negatives: items drawn for each batch by count^0.75 to stand for all in the softmax; None takes all.

    adversarial: length of the step against which item vectors are trained, see recommender.adversarial; 0 is none.
    """

    encoder: str = "minilm"
    dimensions: int = 128
    id_dropout: float = 0.5
    temperature: float = 0.1
    epochs: int = 10
    batch_size: int = 2048
    learning_rate: float = 1e-2
    negatives: int | None = None
    adversarial: float = 0.0
    seed: int = 0
    SPACE: ClassVar[SearchSpace] = {
        "temperature": Range(0.05, 0.3, log=True),
        "id_dropout": Range(0.2, 0.8),
        "learning_rate": Range(0.003, 0.03, log=True),
        "epochs": (5, 10, 20),
    }

    def fit(self, dataset: Dataset) -> TwoTower:
        self.log = to_log(dataset)
        generator = seeds.torch_generator(self.seed, "two-tower")
        towers = _Towers(torch.from_numpy(dense_vectors(dataset, self.encoder)), self, generator)
        pairs = _Pairs(self.log.matrix)
        minimise(
            lambda batch: towers.loss(pairs, batch.numpy()),
            towers.parameters(),
            len(pairs.users),
            self,
            generator,
            mass=lambda batch: float(pairs.counted(batch.numpy()).sum()),
        )
        with torch.no_grad():
            self.vectors = towers.items(drop=False).numpy()
            self.text = towers.text.detach().numpy()
        self.words, self.idf = vocabulary(dataset)
        self.components = lexical_components(dataset)
        self.item_vectors = _unit(self.vectors)
        return self

    def user_vectors(self, users: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows, zero for a user without history: [len(users), dimensions]."""
        return self._profiles(self.log.rows(users))

    def event_vectors(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """As `user_vectors`, of users known by these items alone."""
        return self._profiles(history_rows(histories, self.log.items))

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        return self._scores(self.user_vectors(users))

    def fold_in(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        return self._scores(self.event_vectors(histories))

    def with_items(self, items: pd.DataFrame) -> TwoTower:
        """New items have their text and no embedding of their own, as any item without history."""
        ids, texts = newcomers(items, self.log.items)
        features = new_dense_vectors(texts, self.encoder, self.words, self.idf, self.components)
        other = copy(self)
        other.log = widened(self.log, ids)
        other.vectors = np.vstack([self.vectors, features @ self.text])
        other.item_vectors = np.vstack([self.item_vectors, _unit(features @ self.text)])
        return other

    def _profiles(self, rows: csr_matrix) -> NDArray[np.float32]:
        return _unit(np.asarray(mean_rows(rows) @ self.vectors, dtype=np.float32))

    def _scores(self, user_vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(user_vectors @ self.item_vectors.T / self.temperature, dtype=np.float32)

    def variants(self) -> Iterable[TwoTower]:
        return (self,)


class _Pairs:
    """The log's pairs in row order, with each user's whole row at hand."""

    def __init__(self, matrix: csr_matrix) -> None:
        coo = matrix.tocoo()
        self.matrix = matrix
        self.users, self.items, self.weights = coo.row, coo.col.astype(np.int64), coo.data.astype(np.float32)
        self.sums = np.asarray(matrix.sum(axis=1), dtype=np.float32).ravel()
        self.warm = torch.from_numpy(np.flatnonzero(np.diff(matrix.tocsc().indptr) > 0))
        self.position = torch.full((matrix.shape[1],), -1)
        self.position[self.warm] = torch.arange(len(self.warm))
        counts = torch.from_numpy(np.asarray(matrix.sum(axis=0), dtype=np.float64).ravel())[self.warm] ** 0.75
        self.popularity = (counts / counts.sum()).float()

    def counted(self, batch: NDArray[np.int64]) -> NDArray[np.float32]:
        """Weights; 0 for the pair of a user of one item, who has no profile without it."""
        weights = self.weights[batch]
        return np.where(self.sums[self.users[batch]] - weights > 1e-6, weights, np.float32(0))


class _Towers(torch.nn.Module):
    def __init__(self, features: torch.Tensor, options: TwoTower, generator: torch.Generator) -> None:
        super().__init__()
        self.features, self.options, self.generator = features, options, generator
        self.text = projection(features.shape[1], options.dimensions, generator)
        self.identity = torch.nn.Parameter(torch.zeros(len(features), options.dimensions))

    def items(self, drop: bool) -> torch.Tensor:
        """[items, dimensions]; with drop, some items by their text alone."""
        if not drop:
            return self.features @ self.text + self.identity
        keep = torch.rand(len(self.features), 1, generator=self.generator) >= self.options.id_dropout
        return self.features @ self.text + keep * self.identity

    def loss(self, pairs: _Pairs, batch: NDArray[np.int64]) -> torch.Tensor:
        """Weighted mean over the batch of -log softmax of the target among all items with history."""
        items = self.items(drop=True)
        likelihood = partial(self._loss, pairs=pairs, batch=batch)
        return robust(likelihood(items), likelihood, [items], self.options.adversarial)

    def _loss(self, items: torch.Tensor, pairs: _Pairs, batch: NDArray[np.int64]) -> torch.Tensor:
        users, row = np.unique(pairs.users[batch], return_inverse=True)
        target, weight = torch.from_numpy(pairs.items[batch]), torch.from_numpy(pairs.weights[batch])[:, None]
        rest = torch.from_numpy(pairs.sums[pairs.users[batch]])[:, None] - weight
        totals = torch.sparse.mm(_torch_sparse(csr_matrix(pairs.matrix[users])), items)
        # embedding, not indexing: the gradient of indexing adds up in the order in which threads come
        profiles = (embedding(torch.from_numpy(row), totals) - weight * embedding(target, items)) / rest.clamp(min=1e-6)
        profiles = normalize(profiles, dim=1)
        if self.options.negatives is None:
            logits = profiles @ normalize(embedding(pairs.warm, items), dim=1).T / self.options.temperature
            losses = cross_entropy(logits, pairs.position[target], reduction="none")
        else:
            losses = self.sampled_losses(profiles, items, pairs, target, self.options.negatives)
        counted = torch.from_numpy(pairs.counted(batch))
        return (losses * counted).sum() / counted.sum().clamp(min=1e-6)

    def sampled_losses(
        self, profiles: torch.Tensor, items: torch.Tensor, pairs: _Pairs, target: torch.Tensor, count: int
    ) -> torch.Tensor:
        """-log softmax of the target against `count` items drawn with replacement: [batch].

        A draw's logit less the log of its expected count makes the sum of exponents an unbiased estimate of that over
        all items (logQ: Bengio and Senecal 2008; Yi et al. 2019). A draw that is the target itself is not counted.
        """
        drawn = torch.multinomial(pairs.popularity, count, replacement=True, generator=self.generator)
        unit = normalize(items, dim=1)
        own = (profiles * embedding(target, unit)).sum(dim=1, keepdim=True) / self.options.temperature
        others = profiles @ embedding(pairs.warm[drawn], unit).T / self.options.temperature
        others = others - log_expected(pairs.popularity, drawn)
        others = others.masked_fill(pairs.position[target][:, None] == drawn, -torch.inf)
        return torch.logsumexp(torch.cat([own, others], dim=1), dim=1) - own[:, 0]


def log_expected(probabilities: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Log of how often each drawn entry is expected among the draws: [draws]."""
    return (len(drawn) * probabilities[drawn]).log()


def _torch_sparse(matrix: csr_matrix) -> torch.Tensor:
    coo = matrix.tocoo()
    indices = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    values = torch.from_numpy(coo.data.astype(np.float32))
    return torch.sparse_coo_tensor(indices, values, coo.shape, check_invariants=False)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), dtype=np.float32)
