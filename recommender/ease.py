"""EASE: a closed-form item-item model (Steck 2019). Memory and time grow with the square and cube of the warm items.

B = I - P diag(P)^-1 with P = (X'X + l2 I)^-1; scores = X B. Only items with history take part; the rest score zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix

from llm_aug.data import Dataset
from recommender.live import history_rows
from recommender.matrix import to_log
from recommender.search_space import Range, SearchSpace


@dataclass
class EASE:
    l2: float = 200.0
    SPACE: ClassVar[SearchSpace] = {"l2": Range(10, 5000, log=True)}

    def fit(self, dataset: Dataset) -> EASE:
        self.log = to_log(dataset)
        self.warm = np.flatnonzero(self.log.warm)
        history = self.log.matrix[:, self.warm]
        gram = np.asarray((history.T @ history).todense(), dtype=np.float64)
        gram[np.diag_indices_from(gram)] += self.l2
        inverse = cho_solve(cho_factor(gram, overwrite_a=True), np.eye(len(gram)), overwrite_b=True)
        self.weights = (-inverse / np.diag(inverse)).astype(np.float32)
        np.fill_diagonal(self.weights, 0)
        return self

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        return self._scores(self.log.rows(users))

    def fold_in(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        return self._scores(history_rows(histories, self.log.items))

    def _scores(self, rows: csr_matrix) -> NDArray[np.float32]:
        scores = np.zeros(rows.shape, dtype=np.float32)
        scores[:, self.warm] = rows[:, self.warm] @ self.weights
        return scores

    def variants(self) -> Iterable[EASE]:
        return (self,)
