"""Content kNN: an item is near a user when its text is near the texts of what the user liked.

score(u, i) = w * mean_j <t_i, t_j> + (1 - w) * mean_j <v_i, v_j>, j over the items of u, t TF-IDF, v sentence vectors
less their mean (sentence vectors share a direction, which drowns what tells items apart).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from llm_aug.data import Dataset
from llm_aug.vectors import unit
from recommender.features import (
    mean_rows,
    new_sentence_vectors,
    new_term_vectors,
    sentence_vectors,
    term_vectors,
    vocabulary,
)
from recommender.live import history_rows, newcomers, widened
from recommender.matrix import to_log
from recommender.search_space import SearchSpace


@dataclass
class ContentKNN:
    encoder: str = "minilm"
    tfidf_weight: float = 0.5
    SPACE: ClassVar[SearchSpace] = {}

    def fit(self, dataset: Dataset) -> ContentKNN:
        self.log = to_log(dataset)
        self.terms = term_vectors(dataset)
        self.words, self.idf = vocabulary(dataset)
        vectors = sentence_vectors(dataset, self.encoder)
        self.centre = vectors.mean(axis=0)
        self.vectors = unit(vectors - self.centre)
        return self

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        return self._scores(self.log.rows(users))

    def fold_in(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        return self._scores(history_rows(histories, self.log.items))

    def event_vectors(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """The dense part of the profiles, whose inner product with `vectors` is the dense part of a score: [n, d]."""
        return np.asarray(mean_rows(history_rows(histories, self.log.items)) @ self.vectors, dtype=np.float32)

    def with_items(self, items: pd.DataFrame) -> ContentKNN:
        ids, texts = newcomers(items, self.log.items)
        other = copy(self)
        other.log = widened(self.log, ids)
        other.terms = csr_matrix(vstack([self.terms, new_term_vectors(texts, self.words, self.idf)]))
        other.vectors = np.vstack([self.vectors, unit(new_sentence_vectors(texts, self.encoder) - self.centre)])
        return other

    def _scores(self, rows: csr_matrix) -> NDArray[np.float32]:
        profile = mean_rows(rows)
        lexical = np.asarray((profile @ self.terms @ self.terms.T).todense(), dtype=np.float32)
        semantic = np.asarray(profile @ self.vectors @ self.vectors.T, dtype=np.float32)
        return np.asarray(self.tfidf_weight * lexical + (1 - self.tfidf_weight) * semantic, dtype=np.float32)

    def variants(self) -> Iterable[ContentKNN]:
        for weight in dict.fromkeys((self.tfidf_weight, 0.5, 0.7, 0.85, 1.0)):
            other = copy(self)
            other.tfidf_weight = weight
            yield other
