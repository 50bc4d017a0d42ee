"""The texts of a catalogue are encoded on the cluster once, and found in the cache by whoever asks here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llm_aug.config import recipe_of
from llm_aug.data import Split, item_texts
from llm_aug.encoding import encode_ahead
from llm_aug.vectors import Encoder, Vectors, load_encoder
from recommender import features
from recommender.features import sentence_vectors


class Told:
    """An encoder that says what it was given."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.name = encoder, encoder.name
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.texts += texts
        return self.encoder.encode(texts)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Told]:
    """Of the clusters that were asked for."""
    made: list[Told] = []

    def spread(encoder: Encoder, cluster: object) -> Encoder:
        made.append(Told(encoder))
        return made[-1]

    monkeypatch.setattr("llm_aug.backends.ray.spread_encoder", spread)
    monkeypatch.setenv("LLM_AUG_CACHE", str(tmp_path))
    features._sentences.cache_clear()
    return made


def test_students_find_what_the_cluster_encoded(
    tastes: Split, workers: list[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Told(load_encoder("hash:32"))
    monkeypatch.setattr(features, "load_encoder", lambda name, texts: here)
    encode_ahead(recipe_of(encoder="hash:32", engine={"ray": "local"}), tastes.training)
    assert workers[0].texts == item_texts(tastes.training)
    found = sentence_vectors(tastes.training, "hash:32")
    assert here.texts == []
    np.testing.assert_array_equal(found, here.encoder.encode(item_texts(tastes.training)))


def test_without_a_cluster_nothing_is_encoded_ahead(tastes: Split, workers: list[Told], tmp_path: Path) -> None:
    encode_ahead(recipe_of(encoder="hash:32"), tastes.training)
    assert workers == []
    assert list(tmp_path.iterdir()) == []
