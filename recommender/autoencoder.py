"""Autoencoders of user rows: a row goes in with its weights, a score of every item with history comes out.

AutoRec (Sedhain et al. 2015, by users) reconstructs the row under a weighted squared error, Mult-VAE (Liang et al.
2018) its distribution under a multinomial likelihood. Items without history have no input and no output: they score 0,
and no item with history scores less from Mult-VAE. A user without history gets what an empty row gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from torch.nn.functional import log_softmax, normalize

from llm_aug.data import Dataset
from recommender.matrix import to_log
from recommender.training import dropout, make_generator, minimise, projection

ROWS_AT_ONCE = 1024


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
    GRID: ClassVar[Sequence[dict[str, Any]]] = ({}, {"alpha": 1.0}, {"alpha": 10.0})

    def fit(self, dataset: Dataset) -> AutoRec:
        log, generator = to_log(dataset), make_generator(self.seed, "autorec")
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
        self.user_vectors = _encoded(history, hidden)
        self.decoder, self.bias = decode.detach().numpy(), outer.detach().numpy()
        return self

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        return _scattered(_outputs(self, users), self.warm, len(self.items))

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
    GRID: ClassVar[Sequence[dict[str, Any]]] = ({}, {"beta": 1.0})

    def fit(self, dataset: Dataset) -> MultVAE:
        log, generator = to_log(dataset), make_generator(self.seed, "mult-vae")
        self.users, self.items, self.warm = log.users, log.items, np.flatnonzero(log.warm)
        history = csr_matrix(log.matrix[:, self.warm])
        examples = _with_history(history)
        steps = self.epochs * -(-examples.shape[0] // self.batch_size)
        network = _Variational(len(self.warm), self, steps, generator)

        def loss(batch: torch.Tensor) -> torch.Tensor:
            return network.loss(_dense(examples[batch.numpy()]))

        minimise(loss, network.parameters(), examples.shape[0], self, generator, self.weight_decay)
        self.user_vectors = _encoded(history, lambda rows: network.decoded(network.latent(rows, drop=False)[0]))
        self.decoder, self.bias = network.decode.detach().numpy(), network.outer.detach().numpy()
        return self

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        """Logits above the least of the user's."""
        logits = _outputs(self, users)
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

    def latent(self, rows: torch.Tensor, drop: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance of each row's posterior: [rows, latent] both."""
        rows = normalize(rows, dim=1)
        if drop:
            rows = dropout(rows, self.options.input_dropout, self.generator)
        mean, log_variance = (torch.tanh(rows @ self.encode) @ self.spread).chunk(2, dim=1)
        return mean, log_variance

    def decoded(self, latent: torch.Tensor) -> torch.Tensor:
        """What the last layer reads: [rows, hidden]."""
        return torch.tanh(latent @ self.gather)

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        """Negative evidence lower bound, the divergence times beta: mean over the rows."""
        mean, log_variance = self.latent(rows, drop=True)
        noise = torch.randn(mean.shape, generator=self.generator)
        logits = self.decoded(mean + noise * (log_variance / 2).exp()) @ self.decode + self.outer
        likelihood = (rows * log_softmax(logits, dim=1)).sum(dim=1)
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1)
        self.step += 1
        beta = self.options.beta * min(1.0, 2 * self.step / self.steps)
        return (beta * divergence - likelihood).mean()


def _dense(rows: csr_matrix) -> torch.Tensor:
    return torch.from_numpy(rows.toarray().astype(np.float32))


def _with_history(history: csr_matrix) -> csr_matrix:
    return history[np.diff(history.indptr) > 0]


def _encoded(history: csr_matrix, encode: Callable[[torch.Tensor], torch.Tensor]) -> NDArray[np.float32]:
    """What the last layer reads of each user, and in the last row of one without history: [users + 1, hidden]."""
    rows = csr_matrix(vstack([history, csr_matrix((1, history.shape[1]), dtype=np.float32)], format="csr"))
    with torch.no_grad():
        parts = [encode(_dense(rows[at : at + ROWS_AT_ONCE])) for at in range(0, rows.shape[0], ROWS_AT_ONCE)]
    return torch.cat(parts).numpy()


def _outputs(model: AutoRec | MultVAE, users: Sequence[str]) -> NDArray[np.float32]:
    """[len(users), items with history]; get_indexer says -1, the last row, of an unknown user."""
    return np.asarray(model.user_vectors[model.users.get_indexer(pd.Index(users))] @ model.decoder + model.bias)


def _scattered(outputs: NDArray[np.float32], warm: NDArray[np.int64], items: int) -> NDArray[np.float32]:
    scores = np.zeros((len(outputs), items), dtype=np.float32)
    scores[:, warm] = outputs
    return scores
