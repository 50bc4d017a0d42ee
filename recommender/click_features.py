"""What the click models know of a user and an item, from a log and the texts: len(FEATURES) numbers for each pair.

In the order of FEATURES; a mean is over the user's items by weight, z is over the items for one user:
  lexical      z of the mean inner product of TF-IDF rows
  semantic     z of the mean inner product of sentence vectors less their mean
  neighbours   z over warm items of x_u R'R, R the log divided by the roots of the users' and the items' sums
  spectral     z over warm items of x_u D^-1/2 V V' D^1/2, V the first right singular vectors of R, D the items' sums;
               both filters are GF-CF's (Shen et al. 2021)
  popularity   log(1 + summed weight of the item)
  history      log(1 + summed weight of the user)
  coldness     1 / (1 + summed weight of the item)
  cold_lexical, cold_semantic   coldness times the text features, for the models that know no products
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.utils.extmath import randomized_svd

from llm_aug.data import Dataset
from llm_aug.vectors import unit
from recommender.features import mean_rows, sentence_vectors, term_vectors, z_scores

Array = NDArray[np.float32]
FEATURES = (
    "lexical", "semantic", "neighbours", "spectral", "popularity", "history", "coldness", "cold_lexical",
    "cold_semantic",
)  # fmt: skip


@dataclass(frozen=True)
class Texts:
    """terms: unit TF-IDF rows. vectors: unit rows, their mean taken off. Both [items, d]."""

    terms: csr_matrix
    vectors: Array

    @staticmethod
    def of(dataset: Dataset, encoder: str) -> Texts:
        vectors = sentence_vectors(dataset, encoder)
        return Texts(term_vectors(dataset), unit(vectors - vectors.mean(axis=0)))


@dataclass(frozen=True)
class Filters:
    """normal: R, [users, items]. spectrum: V, [items, rank]. sums: of the items' weights, [items]."""

    normal: csr_matrix
    spectrum: Array
    sums: Array

    @staticmethod
    def of(matrix: csr_matrix, rank: int) -> Filters:
        users, items = (np.asarray(matrix.sum(axis=axis), dtype=np.float32).ravel() for axis in (1, 0))
        normal = csr_matrix(diags(_inverse_root(users)) @ matrix @ diags(_inverse_root(items)), dtype=np.float32)
        right = randomized_svd(normal, min(rank, *normal.shape), n_iter=4, random_state=0)[2]
        return Filters(normal, np.ascontiguousarray(right.T, dtype=np.float32), items)


def _inverse_root(sums: Array) -> Array:
    return np.divide(1.0, np.sqrt(sums), out=np.zeros_like(sums), where=sums > 0)


def pair_features(rows: csr_matrix, texts: Texts, filters: Filters) -> Array:
    """[users, items, len(FEATURES)] from histories [users, items]; an empty one leaves only what is the item's."""
    profile = mean_rows(rows)
    lexical = z_scores(np.asarray((profile @ texts.terms @ texts.terms.T).todense(), dtype=np.float32))
    semantic = z_scores(np.asarray(profile @ texts.vectors @ texts.vectors.T, dtype=np.float32))
    warm, history = filters.sums > 0, np.asarray(rows.sum(axis=1), dtype=np.float32)
    scaled = csr_matrix(profile @ diags(_inverse_root(filters.sums)), dtype=np.float32)
    near = np.asarray((profile @ filters.normal.T @ filters.normal).todense(), dtype=np.float32)
    smooth = np.asarray(scaled @ filters.spectrum @ filters.spectrum.T * np.sqrt(filters.sums), dtype=np.float32)
    features = np.zeros((*rows.shape, len(FEATURES)), dtype=np.float32)
    features[:, :, 0], features[:, :, 1] = lexical, semantic
    features[:, warm, 2], features[:, warm, 3] = z_scores(near[:, warm]), z_scores(smooth[:, warm])
    features[:, :, 4], features[:, :, 5] = np.log1p(filters.sums), np.log1p(history)
    return _with_coldness(features, np.asarray(1 / (1 + filters.sums), dtype=np.float32))


def _with_coldness(features: Array, coldness: Array | float) -> Array:
    features[..., 6] = coldness
    features[..., 7:9] = features[..., 0:2] * features[..., 6:7]
    return features


def as_cold(features: Array) -> Array:
    """The same pairs, had their items no history."""
    cold = features.copy()
    cold[..., 2:5] = 0
    return _with_coldness(cold, 1.0)
