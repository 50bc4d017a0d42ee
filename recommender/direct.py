"""Direct scoring by the generator, with no student: a synthetic pair scores its own weight, whatever the file's maker.

What is no pair comes after all pairs: warm items by the number of their real rows (in [-1, 0)), cold ones at -1 and so
in a drawn order. Among cold items, the figure this arm is for, nothing counts but the pairs: real rows alone give
chance, and what a student adds to the same file is the difference of the two. Among warm items and overall it is
popularity behind the generator's list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llm_aug.data import Dataset
from recommender.matrix import pairs_matrix, to_log
from recommender.search_space import SearchSpace


@dataclass
class Direct:
    SPACE: ClassVar[SearchSpace] = {}

    def fit(self, dataset: Dataset) -> Direct:
        log, rows = to_log(dataset), dataset.interactions
        synthetic = rows["is_synthetic"].to_numpy(dtype=bool)
        self.log = replace(log, matrix=pairs_matrix(rows[synthetic], log.users, log.items))
        counts = np.diff(pairs_matrix(rows[~synthetic], log.users, log.items).tocsc().indptr)
        self.rest = (counts / (counts.max() + 1) - 1).astype(np.float32)
        return self

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        weights = self.log.rows(users).toarray()
        return np.asarray(np.where(weights > 0, weights, self.rest), dtype=np.float32)

    def variants(self) -> Iterable[Direct]:
        return (self,)
