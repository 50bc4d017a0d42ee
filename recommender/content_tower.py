"""The content tower: two towers without embeddings of single items, so that an item is its text alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recommender.embedding import TwoTower
from recommender.search_space import SearchSpace


@dataclass
class ContentTower(TwoTower):
    """id_dropout 1: no item keeps an embedding of its own in any step, and so none is learnt."""

    id_dropout: float = 1.0
    SPACE: ClassVar[SearchSpace] = {name: tried for name, tried in TwoTower.SPACE.items() if name != "id_dropout"}
