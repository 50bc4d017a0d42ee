"""Autoencoders of user rows: a row goes in with its weights, a score of every item with history comes out.

AutoRec (Sedhain et al. 2015, by users) reconstructs the row under a weighted squared error, Mult-VAE (Liang et al.
2018) its distribution under a multinomial likelihood. Items without history have no input and no output: they score 0,
and no item with history scores less from Mult-VAE. A user without history gets what an empty row gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from scipy.special import expit
from torch.nn.functional import log_softmax, normalize

from llm_aug import seeds
from llm_aug.data import Dataset
from recommender.live import history_rows
from recommender.matrix import to_log
from recommender.search_space import Range, SearchSpace
from recommender.training import dropout, minimise, projection


@dataclass
class AutoRec:
    """One hidden layer of sigmoids. alpha: error of a pair of weight w counts 1 + alpha * w, of an unseen one 1.

    Part of the input is dropped in training (CDAE, Wu et al. 2016): a row of ones alone would be copied.
    """

    hidden: int = 200
    alpha: float = 3.0
    input_dropout: float = 0.5
    weight_decay: float = 1e-2
    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 5e-3
    seed: int = 0
    SPACE: ClassVar[SearchSpace] = {
        "alpha": Range(1, 30, log=True),
        "input_dropout": Range(0.2, 0.8),
        "weight_decay": Range(1e-3, 1e-1, log=True),
        "learning_rate": Range(0.001, 0.01, log=True),
    }

    def fit(self, dataset: Dataset) -> AutoRec:
        log, generator = to_log(dataset), seeds.torch_generator(self.seed, "autorec")
        self.users, self.items, self.warm = log.users, log.items, np.flatnonzero(log.warm)
        history = csr_matrix(log.matrix[:, self.warm])
        examples = _with_history(history)
        encode, decode = (
            projection(len(self.warm), self.hidden, generator),
            projection(self.hidden, len(self.warm), generator),
        )
        inner, outer = (torch.nn.Parameter(torch.zeros(size)) for size in (self.hidden, len(self.warm)))

        def hidden(rows: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(rows @ encode + inner)

        def loss(batch: torch.Tensor) -> torch.Tensor:
            rows = _dense(examples[batch.numpy()])
            error = hidden(dropout(rows, self.input_dropout, generator)) @ decode + outer - (rows > 0).float()
            return ((1 + self.alpha * rows) * error.square()).sum(dim=1).mean()

        minimise(loss, (encode, inner, decode, outer), examples.shape[0], self, generator, self.weight_decay)
        self.encoder, self.inner, self.decoder, self.bias = (
            part.detach().numpy() for part in (encode, inner, decode, outer)
        )
        self.user_vectors = self._hidden(_and_empty(history))
        return self

    def _hidden(self, rows: csr_matrix) -> NDArray[np.float32]:
        return np.asarray(expit(rows @ self.encoder + self.inner))

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        return self._scores(self.user_vectors[self.users.get_indexer(pd.Index(users))])

    def fold_in(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        return self._scores(self._hidden(csr_matrix(history_rows(histories, self.items)[:, self.warm])))

    def _scores(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        return _scattered(np.asarray(hidden @ self.decoder + self.bias), self.warm, len(self.items))

    def variants(self) -> Iterable[AutoRec]:
        return (self,)


@dataclass
class MultVAE:
    """beta: weight of the divergence, reached by a straight line in the first half of the steps.

    The weights enter the row, and each the log-likelihood of its item.
    """

    hidden: int = 200
    latent: int = 64
    beta: float = 0.2
    input_dropout: float = 0.5
    weight_decay: float = 1e-2
    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0
    SPACE: ClassVar[SearchSpace] = {
        "latent": (32, 64, 128),
        "beta": Range(0.05, 1, log=True),
        "input_dropout": Range(0.2, 0.8),
        "weight_decay": Range(1e-3, 1e-1, log=True),
        "learning_rate": Range(0.001, 0.01, log=True),
    }

    def fit(self, dataset: Dataset) -> MultVAE:
        log, generator = to_log(dataset), seeds.torch_generator(self.seed, "mult-vae")
        self.users, self.items, self.warm = log.users, log.items, np.flatnonzero(log.warm)
        history = csr_matrix(log.matrix[:, self.warm])
        examples = _with_history(history)
        steps = self.epochs * -(-examples.shape[0] // self.batch_size)
        network = _Variational(len(self.warm), self, steps, generator)

        def loss(batch: torch.Tensor) -> torch.Tensor:
            return network.loss(_dense(examples[batch.numpy()]))

        minimise(loss, network.parameters(), examples.shape[0], self, generator, self.weight_decay)
        weights = network.encode, network.spread[:, : self.latent], network.gather, network.decode, network.outer
        self.encoder, self.mean, self.gather, self.decoder, self.bias = (
            weight.detach().numpy().copy() for weight in weights
        )
        self.user_vectors = self._hidden(_and_empty(history))
        return self

    def _hidden(self, rows: csr_matrix) -> NDArray[np.float32]:
        """What the last layer reads at the mean of the posterior."""
        lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)))
        inner = np.tanh(rows @ self.encoder / np.maximum(lengths, 1e-12))
        return np.asarray(np.tanh(inner @ self.mean @ self.gather), dtype=np.float32)

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        return self._scores(self.user_vectors[self.users.get_indexer(pd.Index(users))])

    def fold_in(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        return self._scores(self._hidden(csr_matrix(history_rows(histories, self.items)[:, self.warm])))

    def _scores(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits above the least of the user's."""
        logits = np.asarray(hidden @ self.decoder + self.bias)
        return _scattered(logits - logits.min(axis=1, keepdims=True), self.warm, len(self.items))

    def variants(self) -> Iterable[MultVAE]:
        return (self,)


class _Variational(torch.nn.Module):
    """items -> hidden -> latent -> hidden -> items, tanh between."""

    def __init__(self, items: int, options: MultVAE, steps: int, generator: torch.Generator) -> None:
        super().__init__()
        self.options, self.steps, self.generator, self.step = options, steps, generator, 0
        self.encode = projection(items, options.hidden, generator)
        self.spread = projection(options.hidden, 2 * options.latent, generator)
        self.gather = projection(options.latent, options.hidden, generator)
        self.decode = projection(options.hidden, items, generator)
        self.outer = torch.nn.Parameter(torch.zeros(items))

    def latent(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance of each row's posterior, part of the row dropped: [rows, latent] both."""
        rows = dropout(normalize(rows, dim=1), self.options.input_dropout, self.generator)
        mean, log_variance = (torch.tanh(rows @ self.encode) @ self.spread).chunk(2, dim=1)
        return mean, log_variance

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        """Negative evidence lower bound, the divergence times beta: mean over the rows."""
        mean, log_variance = self.latent(rows)
        noise = torch.randn(mean.shape, generator=self.generator)
        drawn = mean + noise * (log_variance / 2).exp()
        logits = torch.tanh(drawn @ self.gather) @ self.decode + self.outer
        likelihood = (rows * log_softmax(logits, dim=1)).sum(dim=1)
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1)
        self.step += 1
        beta = self.options.beta * min(1.0, 2 * self.step / self.steps)
        return (beta * divergence - likelihood).mean()


def _dense(rows: csr_matrix) -> torch.Tensor:
    return torch.from_numpy(rows.toarray().astype(np.float32))


def _with_history(history: csr_matrix) -> csr_matrix:
    return history[np.diff(history.indptr) > 0]


def _and_empty(history: csr_matrix) -> csr_matrix:
    """A row more, of a user without history; get_indexer says -1, the last row, of an unknown user."""
    return csr_matrix(vstack([history, csr_matrix((1, history.shape[1]), dtype=np.float32)], format="csr"))


def _scattered(outputs: NDArray[np.float32], warm: NDArray[np.int64], items: int) -> NDArray[np.float32]:
    scores = np.zeros((len(outputs), items), dtype=np.float32)
    scores[:, warm] = outputs
    return scores
