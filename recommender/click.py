"""Click models: a multi-layer perceptron, logistic and linear regression on the same features of (user, item).

The log is cut into folds. A fold's pairs are positives and get the features of the log without them, so that no
feature knows its target; each comes with drawn items of that log that the user has nowhere (negatives). Every training
row stands there twice, as it is and as if its item were cold, which teaches what the text is worth alone. So a cold
item is scored by its text. A row's weight is its pair's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from llm_aug import seeds
from llm_aug.data import Dataset
from recommender.click_features import FEATURES, Array, Filters, Texts, as_cold, pair_features
from recommender.matrix import to_log
from recommender.search_space import Range, SearchSpace
from recommender.training import descend

PAIRS_AT_ONCE = 2**20  # their features take 40 MB, and some more while they are made
MOST_USERS = 4096  # whose pairs are training rows: a model of nine features needs no more


@dataclass(frozen=True)
class Rows:
    """What a click model learns from: features [n, len(FEATURES)], clicked 0 or 1 and weights [n]."""

    features: Array
    clicked: Array
    weights: Array


def training_rows(matrix: csr_matrix, texts: Texts, options: _Click) -> Rows:
    """One neutral row of each class is among them: a log that leaves nothing to draw is no error."""
    draw = seeds.generator(options.seed, "click")
    fold = draw.integers(options.folds, size=matrix.nnz)
    chosen = np.sort(draw.permutation(matrix.shape[0])[:MOST_USERS])
    parts = [Rows(np.zeros((2, len(FEATURES)), np.float32), np.array([0, 1], np.float32), np.ones(2, np.float32))]
    for number in range(options.folds):
        rest, held = (_only(matrix, mask) for mask in (fold != number, fold == number))
        if not rest.nnz or not held.nnz:
            continue
        filters = Filters.of(rest, options.rank)
        for block in _blocks(len(chosen), matrix.shape[1]):
            users = chosen[block]
            row, item, clicked, weights = _drawn(
                matrix[users], held[users], np.flatnonzero(filters.sums), options.negatives, draw
            )
            found = pair_features(rest[users], texts, filters)[row, item]
            parts.append(Rows(np.concatenate([found, as_cold(found)]), np.tile(clicked, 2), np.tile(weights, 2)))
    return Rows(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "clicked", "weights"))
    )


def _blocks(users: int, items: int) -> list[slice]:
    size = max(1, PAIRS_AT_ONCE // items)
    return [slice(start, start + size) for start in range(0, users, size)]


def _only(matrix: csr_matrix, mask: NDArray[np.bool_]) -> csr_matrix:
    kept = csr_matrix((np.where(mask, matrix.data, 0), matrix.indices, matrix.indptr), shape=matrix.shape, copy=True)
    kept.eliminate_zeros()
    return kept


def _drawn(
    known: csr_matrix, held: csr_matrix, warm: NDArray[np.int64], count: int, draw: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
    """Rows, items, clicked and weights of the held pairs, and of `count` drawn items for each that the user lacks."""
    coo = held.tocoo()
    users = np.repeat(coo.row, count).astype(np.int64)
    items = warm[draw.integers(len(warm), size=len(users))]
    lacks = ~np.isin(users * known.shape[1] + items, _keys(known))
    clicked = np.concatenate([np.ones(coo.nnz, np.float32), np.zeros(lacks.sum(), np.float32)])
    weights = np.concatenate([coo.data, np.repeat(coo.data, count)[lacks]]).astype(np.float32)
    row = np.concatenate([coo.row.astype(np.int64), users[lacks]])
    return row, np.concatenate([coo.col.astype(np.int64), items[lacks]]), clicked, weights


def _keys(matrix: csr_matrix) -> NDArray[np.int64]:
    coo = matrix.tocoo()
    return np.asarray(coo.row.astype(np.int64) * matrix.shape[1] + coo.col)


@dataclass
class _Click(ABC):
    """What the three share: the signals of the whole log, and the scale of the features.

    rank: of the spectral filter. negatives: drawn for each pair. folds: two at least.
    cold_bonus: added to a score times the item's coldness, in deviations of the training rows' scores. The rows know
    how often a cold item is clicked among all pairs; of the pairs yet to come, cold items have a larger share.
    """

    encoder: str = "minilm"
    rank: int = 64
    cold_bonus: float = 0.0
    negatives: int = 8
    folds: int = 4
    seed: int = 0
    SPACE: ClassVar[SearchSpace] = {"rank": (32, 64, 128), "negatives": (4, 8, 16)}

    def _prepare(self, dataset: Dataset) -> Rows:
        self.log = to_log(dataset)
        texts, filters = Texts.of(dataset, self.encoder), Filters.of(self.log.matrix, self.rank)
        self.terms, self.vectors = texts.terms, texts.vectors
        self.normal, self.spectrum, self.sums = filters.normal, filters.spectrum, filters.sums
        rows = training_rows(self.log.matrix, texts, self)
        self.centre = np.average(rows.features, axis=0, weights=rows.weights).astype(np.float32)
        spread = rows.features.std(axis=0)
        self.scale = np.where(spread > 1e-6, spread, 1).astype(np.float32)
        return Rows((rows.features - self.centre) / self.scale, rows.clicked, rows.weights)

    def _measure(self, rows: Rows) -> None:
        self.spread = np.array(self._judge(rows.features).std(), dtype=np.float32)

    def _features(self, users: Sequence[str]) -> Array:
        """Standardised: [len(users) * items, len(FEATURES)]."""
        texts, filters = Texts(self.terms, self.vectors), Filters(self.normal, self.spectrum, self.sums)
        features = pair_features(self.log.rows(users), texts, filters).reshape(-1, len(FEATURES))
        return np.asarray((features - self.centre) / self.scale, dtype=np.float32)

    @abstractmethod
    def _judge(self, features: Array) -> Array:
        """[n] of features [n, len(FEATURES)]."""

    def scores(self, users: Sequence[str]) -> Array:
        """Without history a user has no taste: what remains of the features is popularity and coldness."""
        items = len(self.log.items)
        blocks = [self._judge(self._features(users[block])) for block in _blocks(len(users), items)]
        judged = np.concatenate([*blocks, np.empty(0, np.float32)]).reshape(len(users), items)
        return np.asarray(judged + self.cold_bonus * self.spread / (1 + self.sums), dtype=np.float32)

    def variants(self) -> Iterable[Self]:
        yield self
        for bonus in (0.0, 1.0, 2.0, 3.0, 5.0, 8.0):
            if bonus != self.cold_bonus:
                other = copy(self)
                other.cold_bonus = bonus
                yield other


@dataclass
class Linear(_Click):
    """Least squares of the clicks."""

    def fit(self, dataset: Dataset) -> Linear:
        rows = self._prepare(dataset)
        model = LinearRegression().fit(rows.features.astype(np.float64), rows.clicked, rows.weights)
        self.coefficients = np.asarray(model.coef_, dtype=np.float32)
        self._measure(rows)
        return self

    def _judge(self, features: Array) -> Array:
        return features @ self.coefficients


@dataclass
class Logistic(_Click):
    """Scores are log-odds less the intercept."""

    def fit(self, dataset: Dataset) -> Logistic:
        rows = self._prepare(dataset)
        self.coefficients = _logistic(rows)[:-1]
        self._measure(rows)
        return self

    def _judge(self, features: Array) -> Array:
        return features @ self.coefficients


@dataclass
class MLP(_Click):
    """Log-odds of the logistic regression plus those of two hidden layers (as in Wide & Deep, Cheng et al. 2016).

    The hidden part starts at zero: where rows are few, the regression carries the model.
    """

    hidden: int = 32
    epochs: int = 5
    batch_size: int = 4096
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    SPACE: ClassVar[SearchSpace] = {
        "rank": (32, 64, 128),
        "hidden": (16, 32, 64),
        "epochs": (3, 5, 8),
        "learning_rate": Range(0.001, 0.01, log=True),
        "weight_decay": Range(1e-4, 1e-1, log=True),
    }

    def fit(self, dataset: Dataset) -> MLP:
        rows = self._prepare(dataset)
        generator = seeds.torch_generator(self.seed, "mlp")
        self.wide = _logistic(rows)
        start = [torch.randn(width, self.hidden, generator=generator) for width in (len(FEATURES), self.hidden)]
        layers = [part * (2 / len(part)) ** 0.5 for part in start] + [torch.zeros(self.hidden) for _ in range(3)]
        parameters = [torch.nn.Parameter(layer) for layer in layers]
        optimizer = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
        features, clicked, weights = (torch.from_numpy(part) for part in (rows.features, rows.clicked, rows.weights))
        wide = torch.from_numpy(self.wide)

        def loss(batch: torch.Tensor) -> torch.Tensor:
            logits = _log_odds(features[batch], wide, *parameters)
            return binary_cross_entropy_with_logits(logits, clicked[batch], weights[batch])

        descend(loss, optimizer, len(clicked), self, generator)
        self.first, self.second, self.first_bias, self.second_bias, self.last = (
            parameter.detach().numpy() for parameter in parameters
        )
        self._measure(rows)
        return self

    def _judge(self, features: Array) -> Array:
        arrays = (features, self.wide, self.first, self.second, self.first_bias, self.second_bias, self.last)
        with torch.no_grad():
            return np.asarray(_log_odds(*map(torch.from_numpy, arrays)).numpy())


def _logistic(rows: Rows) -> Array:
    """Coefficients and, last, the intercept."""
    model = LogisticRegression(max_iter=1000).fit(rows.features.astype(np.float64), rows.clicked, rows.weights)
    return np.append(model.coef_[0], model.intercept_).astype(np.float32)


def _log_odds(
    features: torch.Tensor,
    wide: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    first_bias: torch.Tensor,
    second_bias: torch.Tensor,
    last: torch.Tensor,
) -> torch.Tensor:
    """[n] of features [n, len(FEATURES)]."""
    hidden = relu(relu(features @ first + first_bias) @ second + second_bias)
    return features @ wide[:-1] + wide[-1] + hidden @ last
