"""The students that compare users with items by an inner product, as spaces for the funnel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llm_aug.data import Dataset
from llm_aug.funnel import Space
from recommender.embedding import TwoTower
from recommender.features import dense_vectors, mean_rows
from recommender.matrix import to_log

LEXICAL_DIMENSIONS = 512


def spaces(encoder: str, seed: int = 0, epochs: int = 10) -> Callable[[Dataset], Sequence[Space]]:
    """The learned content tower, then profile kNN over sentence vectors and TF-IDF; users in sorted order."""

    def fit(dataset: Dataset) -> Sequence[Space]:
        log = to_log(dataset)
        users = list(log.users)
        tower = TwoTower(encoder=encoder, seed=seed, epochs=epochs).fit(dataset)
        vectors = dense_vectors(dataset, encoder, LEXICAL_DIMENSIONS)
        profiles = mean_rows(log.rows(users)) @ vectors
        return (
            Space("tower", tower.user_vectors(users), tower.item_vectors),
            Space("content", profiles, vectors),
        )

    return fit
