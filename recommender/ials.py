"""iALS: matrix factorisation of implicit feedback by alternating least squares (Hu, Koren, Volinsky 2008).

Confidence is 1 for an unseen pair and alpha * weight for a seen one; synthetic pairs come in with their smaller
weight. The solver is the `implicit` library's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from llm_aug.data import Dataset
from llm_aug.errors import Unavailable
from recommender.live import history_rows
from recommender.matrix import to_log
from recommender.search_space import Range, SearchSpace


@dataclass
class IALS:
    factors: int = 64
    regularization: float = 30.0
    alpha: float = 10.0
    iterations: int = 12
    seed: int = 0
    SPACE: ClassVar[SearchSpace] = {
        "factors": (64, 128),
        "regularization": Range(10, 150, log=True),
        "alpha": Range(5, 40, log=True),
    }

    def fit(self, dataset: Dataset) -> IALS:
        try:
            from implicit.cpu.als import AlternatingLeastSquares
            from threadpoolctl import threadpool_limits
        except ImportError as error:
            raise Unavailable("iALS needs the extra 'baselines': pip install 'llm-aug[baselines]'") from error
        log = to_log(dataset)
        self.users, self.items = log.users, log.items
        with threadpool_limits(1, "blas"):  # implicit brings its own threads, and warns of BLAS threads inside them
            model = AlternatingLeastSquares(
                factors=self.factors,
                regularization=self.regularization,
                alpha=self.alpha,
                iterations=self.iterations,
                random_state=self.seed,
            )
            model.fit(log.matrix, show_progress=False)
        self.user_factors = np.asarray(model.user_factors)
        self.item_factors = np.asarray(model.item_factors)
        return self

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        index = self.users.get_indexer(users)
        factors = np.where((index >= 0)[:, None], self.user_factors[index], 0)
        return np.asarray(factors @ self.item_factors.T, dtype=np.float32)

    def fold_in(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """The next step of the alternation: nearer to `scores` the nearer the fit is to convergence."""
        factors = self._user_step(history_rows(histories, self.items))
        return np.asarray(factors @ self.item_factors.T, dtype=np.float32)

    def _user_step(self, rows: csr_matrix) -> NDArray[np.float32]:
        """x = (Y'Y + Y'(C - I)Y + l2 I)^-1 Y'Cp of each row, the items fixed (their eq. 4): [rows, factors]."""
        items = self.item_factors.astype(np.float64)
        gram = items.T @ items + self.regularization * np.eye(items.shape[1])
        factors = np.zeros((rows.shape[0], items.shape[1]), dtype=np.float32)
        for row in range(rows.shape[0]):
            part = slice(rows.indptr[row], rows.indptr[row + 1])
            own, confidence = items[rows.indices[part]], self.alpha * rows.data[part].astype(np.float64)
            factors[row] = np.linalg.solve(gram + (own.T * (confidence - 1)) @ own, confidence @ own)
        return factors

    def variants(self) -> Iterable[IALS]:
        return (self,)
