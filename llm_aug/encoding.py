"""The recipe's text encoder, in this process or on its cluster."""

from __future__ import annotations

from llm_aug.chosen import told
from llm_aug.config import Recipe
from llm_aug.data import Dataset, item_text, item_texts
from llm_aug.vectors import Cached, load_encoder


def encoder_of(recipe: Recipe, dataset: Dataset) -> Cached:
    """Fitted on the catalogue, where it is one to be fitted. Its vectors are cached here, wherever they are made."""
    count = sum(map(len, dataset.values("item_id")))
    encoder = load_encoder(recipe.encoder, told(dataset, count, lambda row: item_text(row, dataset.attributes)))
    if recipe.engine.cluster is None:
        return Cached(encoder)
    from llm_aug.backends.ray import spread_encoder

    return Cached(spread_encoder(encoder, recipe.engine.cluster))


def encode_ahead(recipe: Recipe, dataset: Dataset) -> None:
    """On the recipe's cluster, where it has one: whoever encodes the items' texts here finds their vectors cached."""
    if recipe.engine.cluster is not None:
        encoder_of(recipe, dataset).encode(item_texts(dataset))
