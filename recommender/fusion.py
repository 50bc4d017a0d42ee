"""Late fusion of a collaborative and a content model: the bar that merged data has to clear, and a student itself.

score(u, i) = z(collaborative) + weight * z(content) for warm items and
              cold_collaborative * z(collaborative) + cold_factor * z(content) for items without a real row.
Of items without any row the collaborative model knows nothing: their z(collaborative) is left out. z is over the items
of each user. The numbers are tuned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_aug.data import Dataset, item_texts
from recommender.content import ContentKNN
from recommender.ease import EASE
from recommender.embedding import TwoTower
from recommender.features import z_scores
from recommender.live import newcomers, widened
from recommender.matrix import to_log
from recommender.search_space import Range, SearchSpace

KEPT_BYTES = 1 << 28  # of scores that variants share


@dataclass
class Fusion:
    """knn_weight: share of content kNN in the content part, the rest is the two-tower model's. cold_collaborative: of
    items that have synthetic rows alone; 0 leaves the collaborative model, fitted on these rows, to the warm items."""

    encoder: str = "minilm"
    l2: float = 200.0
    weight: float = 0.3
    cold_factor: float = 1.0
    cold_collaborative: float = 1.0
    knn_weight: float = 0.3
    seed: int = 0
    SPACE: ClassVar[SearchSpace] = {"l2": Range(10, 5000, log=True)}
    _scored: ClassVar[_Scored | None] = None  # of a variant; scratch, which is not stored

    def fit(self, dataset: Dataset) -> Fusion:
        real = Dataset(dataset.items, dataset.interactions[~dataset.interactions["is_synthetic"]])
        self.collaborative = EASE(self.l2).fit(dataset)
        self.towers, self.knn = _content_models(real, self.encoder, self.seed)
        self.warm, self.known = to_log(real).warm, to_log(dataset).warm
        return self

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        return self._mixed(*(self._scored or _Scored(self))(users))

    def fold_in(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        return self._mixed(*(z_scores(part.fold_in(histories)) for part in self.parts))

    @property
    def parts(self) -> tuple[TwoTower, ContentKNN, EASE]:
        return self.towers, self.knn, self.collaborative

    def with_items(self, items: pd.DataFrame) -> Fusion:
        """New items are cold: the collaborative part gives them zero."""
        ids, _ = newcomers(items, self.collaborative.log.items)
        other = copy(self)
        vars(other).pop("_scored", None)
        other.towers, other.knn = self.towers.with_items(items), self.knn.with_items(items)
        other.collaborative = copy(self.collaborative)
        other.collaborative.log = widened(self.collaborative.log, ids)
        other.warm, other.known = (np.pad(mask, (0, len(ids))) for mask in (self.warm, self.known))
        return other

    def _mixed(self, *scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """scores: z of the towers, the kNN and the collaborative model, each [users, items]."""
        towers, knn, collaborative = scores
        content = z_scores((1 - self.knn_weight) * towers + self.knn_weight * knn)
        warm = collaborative + self.weight * content
        cold = self.cold_collaborative * self.known * collaborative + self.cold_factor * content
        return np.where(self.warm, warm, cold).astype(np.float32)

    def variants(self) -> Iterable[Fusion]:
        yield self
        scored = _Scored(self, {})
        colds = (1.0, 0.5, 0.0) if (self.known > self.warm).any() else (self.cold_collaborative,)
        for numbers in product((0.05, 0.1, 0.2, 0.4), (0.5, 1.0, 2.0, 3.0, 4.5, 6.0), (0.2, 0.4), colds):
            other = copy(self)
            other.weight, other.cold_factor, other.knn_weight, other.cold_collaborative = numbers
            vars(other)["_scored"] = scored
            yield other


@dataclass
class _Scored:
    """The z-scores of a fusion's parts, which its variants mix: each block of users is scored once where it is kept."""

    fusion: Fusion
    kept: dict[tuple[str, ...], list[NDArray[np.float32]]] | None = None
    room: int = KEPT_BYTES

    def __call__(self, users: Sequence[str]) -> list[NDArray[np.float32]]:
        key = tuple(users)
        if self.kept is not None and key in self.kept:
            return self.kept[key]
        found = [z_scores(part.scores(users)) for part in self.fusion.parts]
        self.room -= sum(scores.nbytes for scores in found)
        if self.kept is not None and self.room >= 0:
            self.kept[key] = found
        return found


_fitted: dict[tuple[str, int, str], tuple[TwoTower, ContentKNN]] = {}


def _content_models(real: Dataset, encoder: str, seed: int) -> tuple[TwoTower, ContentKNN]:
    """Fitted on the real log and the item texts; the last pair is kept, since arms differ in their pairs alone."""
    digest = hashlib.sha256(
        repr((item_texts(real), real.interactions[["user_id", "item_id", "weight"]].to_numpy().tolist())).encode()
    )
    key = (encoder, seed, digest.hexdigest())
    if key not in _fitted:
        _fitted.clear()
        _fitted[key] = TwoTower(encoder=encoder, seed=seed).fit(real), ContentKNN(encoder=encoder).fit(real)
    return _fitted[key]
