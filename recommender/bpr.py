"""BPR: matrix factorisation that ranks a user's items above others (Bayesian personalised ranking, Rendle et al. 2009).

score(u, i) = b_i + <p_u, q_i>; the loss of a pair is weight * -log sigmoid(score(u, i) - score(u, j)), the mean over
`negatives` drawn items j with history that u does not have. Written in torch, as the `implicit` library's BPR knows no
weights. j is drawn in proportion to min(1, summed weight): an item that light synthetic pairs alone know of is pushed
down no more than they lift it. Factors of items without history are zero; their score is 0, the lowest bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch.nn.functional import embedding, softplus

from llm_aug import seeds
from llm_aug.data import Dataset
from recommender.adversarial import robust
from recommender.matrix import to_log
from recommender.search_space import Range, SearchSpace
from recommender.training import descend


@dataclass
class BPR:
    """regularization: of the squared norms of the vectors in a batch, as in the paper. adversarial: length of the step
    against which the vectors are trained, see recommender.adversarial; 0 is none."""

    factors: int = 64
    regularization: float = 0.01
    learning_rate: float = 1e-2
    epochs: int = 40
    negatives: int = 4
    batch_size: int = 2048
    adversarial: float = 0.0
    seed: int = 0
    SPACE: ClassVar[SearchSpace] = {
        "factors": (32, 64, 128),
        "regularization": Range(0.003, 0.03, log=True),
        "learning_rate": Range(0.005, 0.02, log=True),
        "epochs": (20, 40, 60),
    }

    def fit(self, dataset: Dataset) -> BPR:
        log = to_log(dataset)
        self.users = log.users
        generator = seeds.torch_generator(self.seed, "bpr")
        factors = _Factors(log.matrix, self.factors, generator)
        optimizer = torch.optim.Adam(factors.parameters(), lr=self.learning_rate)
        coo = log.matrix.tocoo()
        users, items = (torch.from_numpy(part.astype(np.int64)) for part in (coo.row, coo.col))
        weights = torch.from_numpy(coo.data.astype(np.float32))

        def loss(batch: torch.Tensor) -> torch.Tensor:
            others, known = factors.draw(users[batch], self.negatives)
            counted = weights[batch, None] * ~known
            triples = users[batch], items[batch], others, counted
            return factors.loss(*triples, self.regularization, self.adversarial)

        descend(loss, optimizer, len(users), self, generator, lambda batch: float(weights[batch].sum()))
        self.user_factors = factors.users.detach().numpy()
        warm = log.warm
        biases = factors.biases.detach().numpy()[:, 0]
        self.item_factors = np.where(warm[:, None], factors.items.detach().numpy(), 0).astype(np.float32)
        self.item_biases = np.where(warm, biases - biases[warm].min(), 0).astype(np.float32)
        return self

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        """A user without history gets the biases alone."""
        index = self.users.get_indexer(users)
        factors = np.where((index >= 0)[:, None], self.user_factors[index], 0)
        return np.asarray(self.item_biases + factors @ self.item_factors.T, dtype=np.float32)

    def variants(self) -> Iterable[BPR]:
        return (self,)


class _Factors(torch.nn.Module):
    def __init__(self, matrix: csr_matrix, factors: int, generator: torch.Generator) -> None:
        super().__init__()
        users, items = matrix.shape
        self.users = torch.nn.Parameter(torch.randn(users, factors, generator=generator) * 0.1)
        self.items = torch.nn.Parameter(torch.randn(items, factors, generator=generator) * 0.1)
        self.biases = torch.nn.Parameter(torch.zeros(items, 1))
        coo = matrix.tocoo()
        self.pairs = torch.from_numpy(coo.row.astype(np.int64) * items + coo.col)  # sorted, as the rows of a csr are
        share = np.minimum(np.asarray(matrix.sum(axis=0), dtype=np.float64).ravel(), 1)
        self.share, self.generator = torch.from_numpy(np.cumsum(share) / share.sum()), generator

    def draw(self, users: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Items, and whether the user has them, which makes them no negatives: [len(users), count] each."""
        drawn = torch.rand(len(users), count, generator=self.generator, dtype=torch.float64)
        items = torch.searchsorted(self.share, drawn, right=True).clamp(max=len(self.items) - 1)
        keys = users[:, None] * len(self.items) + items
        place = torch.searchsorted(self.pairs, keys).clamp(max=len(self.pairs) - 1)
        return items, self.pairs[place] == keys

    def loss(
        self,
        users: torch.Tensor,
        items: torch.Tensor,
        others: torch.Tensor,
        counted: torch.Tensor,
        strength: float,
        epsilon: float = 0.0,
    ) -> torch.Tensor:
        """Mean over the triples by their weight. embedding, not indexing: its gradient adds up in a fixed order."""
        bias, rival = embedding(items, self.biases), embedding(others, self.biases)[..., 0]

        def vectors(of_users: torch.Tensor, of_items: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return embedding(users, of_users)[:, None], embedding(items, of_items)[:, None], embedding(others, of_items)

        def mean(values: torch.Tensor) -> torch.Tensor:
            return (counted * values).sum() / counted.sum().clamp(min=1e-6)

        def ranking(user: torch.Tensor, item: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return mean(softplus(-((user * (item - other)).sum(-1) + bias - rival)))

        embeddings = self.users, self.items
        here = vectors(*embeddings)
        norms = sum(((part**2).sum(-1) for part in here), bias**2 + rival**2)
        hardest = robust(ranking(*here), lambda *moved: ranking(*vectors(*moved)), embeddings, epsilon)
        return hardest + strength * mean(norms)
