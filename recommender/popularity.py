"""Popularity: every user gets the items with the largest summed weight. A cold item scores zero."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llm_aug.data import Dataset
from recommender.matrix import to_log
from recommender.search_space import SearchSpace


@dataclass
class Popularity:
    SPACE: ClassVar[SearchSpace] = {}

    def fit(self, dataset: Dataset) -> Popularity:
        self.counts = np.asarray(to_log(dataset).matrix.sum(axis=0), dtype=np.float32).ravel()
        return self

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        return np.tile(self.counts, (len(users), 1))

    def fold_in(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        return np.tile(self.counts, (len(histories), 1))

    def variants(self) -> Iterable[Popularity]:
        return (self,)
