"""Two towers: an item is its text through a linear map plus an embedding of its own; a user is the mean of his items.

score(u, i) = <mean_j z_j, z_i> / (|.| |.| temperature), j over the items of u. Trained by softmax over all items with
history, the target taken out of the profile. An item's own embedding is dropped at random in training (as in
DropoutNet, Volkovs et al. 2017), so that the text alone has to carry items without history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch.nn.functional import cross_entropy, embedding, normalize

from llm_aug import seeds
from llm_aug.data import Dataset
from recommender.features import dense_vectors, mean_rows
from recommender.matrix import to_log


@dataclass
class TwoTower:
    encoder: str = "minilm"
    dimensions: int = 128
    id_dropout: float = 0.5
    temperature: float = 0.1
    epochs: int = 10
    batch_size: int = 2048
    learning_rate: float = 1e-2
    seed: int = 0
    GRID: ClassVar[Sequence[dict[str, Any]]] = ({},)

    def fit(self, dataset: Dataset) -> TwoTower:
        self.log = to_log(dataset)
        generator = torch.Generator().manual_seed(seeds.derive(self.seed, "two-tower") % 2**63)
        towers = _Towers(torch.from_numpy(dense_vectors(dataset, self.encoder)), self, generator)
        pairs = _Pairs(self.log.matrix)
        steps = self.epochs * -(-len(pairs.users) // self.batch_size)
        optimizer = torch.optim.AdamW(towers.parameters(), lr=self.learning_rate, weight_decay=1e-5)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=max(steps, 2))
        for _ in range(self.epochs):
            for batch in torch.randperm(len(pairs.users), generator=generator).split(self.batch_size):  # type: ignore[no-untyped-call]
                loss = towers.loss(pairs, batch.numpy())
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
        with torch.no_grad():
            self.vectors = towers.items(drop=False).numpy()
        self.item_vectors = _unit(self.vectors)
        return self

    def user_vectors(self, users: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows, zero for a user without history: [len(users), dimensions]."""
        return _unit(np.asarray(mean_rows(self.log.rows(users)) @ self.vectors, dtype=np.float32))

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray(self.user_vectors(users) @ self.item_vectors.T / self.temperature, dtype=np.float32)

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


class _Towers(torch.nn.Module):
    def __init__(self, features: torch.Tensor, options: TwoTower, generator: torch.Generator) -> None:
        super().__init__()
        self.features, self.options, self.generator = features, options, generator
        start = torch.randn(features.shape[1], options.dimensions, generator=generator) / features.shape[1] ** 0.5
        self.text = torch.nn.Parameter(start)
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
        users, row = np.unique(pairs.users[batch], return_inverse=True)
        target, weight = torch.from_numpy(pairs.items[batch]), torch.from_numpy(pairs.weights[batch])[:, None]
        rest = torch.from_numpy(pairs.sums[pairs.users[batch]])[:, None] - weight
        totals = torch.sparse.mm(_torch_sparse(csr_matrix(pairs.matrix[users])), items)
        # embedding, not indexing: the gradient of indexing adds up in the order in which threads come
        profiles = (embedding(torch.from_numpy(row), totals) - weight * embedding(target, items)) / rest.clamp(min=1e-6)
        logits = (
            normalize(profiles, dim=1) @ normalize(embedding(pairs.warm, items), dim=1).T / self.options.temperature
        )
        losses = cross_entropy(logits, pairs.position[target], reduction="none")
        counted = weight[:, 0] * (rest[:, 0] > 1e-6)  # a user of one item has no profile without it
        return (losses * counted).sum() / counted.sum().clamp(min=1e-6)


def _torch_sparse(matrix: csr_matrix) -> torch.Tensor:
    coo = matrix.tocoo()
    indices = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    values = torch.from_numpy(coo.data.astype(np.float32))
    return torch.sparse_coo_tensor(indices, values, coo.shape, check_invariants=False)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), dtype=np.float32)
