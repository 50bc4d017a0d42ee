"""LightGCN: user and item vectors smoothed over the graph of the log (He et al. 2020), without weights per layer.

E^(l+1) = D^-1/2 A D^-1/2 E^(l), A the bipartite graph by the pairs' weights, D its weighted degrees; a vector is the
mean over the layers 0..L. score(u, i) = cos(e_u, e_i) / temperature. The loss is not the paper's BPR but a weighted
softmax over all items with history, a user's whole row at once: fewer, larger steps, which suits a few cores. A user
or item without history has no edge; its vector is zero, and so are its scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import bmat, csr_matrix, diags
from torch.nn.functional import embedding, log_softmax, normalize

from llm_aug import seeds
from llm_aug.data import Dataset
from recommender.adversarial import robust
from recommender.matrix import to_log
from recommender.search_space import Range, SearchSpace
from recommender.training import descend


@dataclass
class LightGCN:
    """batch_size: users per step; each step propagates the whole graph. adversarial: length of the step against which
    the vectors before it are trained, see recommender.adversarial; 0 is none."""

    dimensions: int = 64
    layers: int = 2
    temperature: float = 0.2
    learning_rate: float = 1e-2
    regularization: float = 1e-4
    epochs: int = 80
    batch_size: int = 512
    adversarial: float = 0.0
    seed: int = 0
    SPACE: ClassVar[SearchSpace] = {
        "layers": (1, 2, 3),
        "temperature": Range(0.05, 0.5, log=True),
        "learning_rate": Range(0.003, 0.03, log=True),
        "regularization": Range(1e-6, 1e-2, log=True),
    }

    def fit(self, dataset: Dataset) -> LightGCN:
        log = to_log(dataset)
        self.users = log.users
        generator = seeds.torch_generator(self.seed, "lightgcn")
        graph, count = _torch_sparse(normalised_graph(log.matrix)), len(log.users)
        start = torch.randn(graph.shape[0], self.dimensions, generator=generator) * 0.1
        vectors = torch.nn.Parameter(start)
        optimizer = torch.optim.Adam([vectors], lr=self.learning_rate)
        warm = torch.from_numpy(np.flatnonzero(log.warm))
        history = csr_matrix(log.matrix[:, warm.numpy()])

        def loss(batch: torch.Tensor) -> torch.Tensor:
            target = torch.from_numpy(history[batch.numpy()].toarray())
            likelihood = partial(self._loss, graph, batch, warm + count, target)
            value = robust(likelihood(vectors), likelihood, [vectors], self.adversarial)
            return value + self.regularization * (embedding(batch, vectors) ** 2).sum() / len(batch)

        descend(loss, optimizer, count, self, generator, lambda batch: float(history[batch.numpy()].sum()))
        with torch.no_grad():
            fitted = normalize(propagate(graph, vectors, self.layers), dim=1).numpy()
        self.user_vectors = fitted[:count]
        self.item_vectors = np.where(log.warm[:, None], fitted[count:], 0).astype(np.float32)
        return self

    def _loss(
        self,
        graph: torch.Tensor,
        users: torch.Tensor,
        items: torch.Tensor,
        target: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        """users, items: nodes of the graph. target: weights [users, items]."""
        smooth = normalize(propagate(graph, vectors, self.layers), dim=1)
        logits = embedding(users, smooth) @ embedding(items, smooth).T / self.temperature
        return -(target * log_softmax(logits, dim=1)).sum() / target.sum().clamp(min=1e-6)

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        index = self.users.get_indexer(users)
        vectors = np.where((index >= 0)[:, None], self.user_vectors[index], 0)
        return np.asarray(vectors @ self.item_vectors.T / self.temperature, dtype=np.float32)

    def variants(self) -> Iterable[LightGCN]:
        return (self,)


def normalised_graph(matrix: csr_matrix) -> csr_matrix:
    """D^-1/2 A D^-1/2 of the bipartite graph: [users + items, users + items]; a node without edges has a zero row."""
    graph = csr_matrix(bmat([[None, matrix], [matrix.T, None]]), dtype=np.float64)
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    scale = diags(np.divide(1.0, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0))
    return csr_matrix(scale @ graph @ scale, dtype=np.float32)


def propagate(graph: torch.Tensor, vectors: torch.Tensor, layers: int) -> torch.Tensor:
    """Mean of the vectors after 0, 1, ..., layers steps over the graph: [nodes, dimensions]."""
    total = step = vectors
    for _ in range(layers):
        step = torch.sparse.mm(graph, step)
        total = total + step
    return total / (layers + 1)


def _torch_sparse(matrix: csr_matrix) -> torch.Tensor:
    coo = matrix.tocoo()
    indices = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    return torch.sparse_coo_tensor(indices, torch.from_numpy(coo.data), coo.shape, check_invariants=False).coalesce()
