"""The sampled softmax of the two towers against the full one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from llm_aug.data import Dataset, Split, tidy_interactions, tidy_items
from recommender import embedding, make_student
from recommender.embedding import TwoTower, _Pairs, _Towers
from recommender.matrix import to_log

OPTIONS = {"encoder": "hash:64", "dimensions": 16, "epochs": 8, "batch_size": 64}


def towers(tastes: Split, negatives: int | None) -> tuple[_Towers, _Pairs]:
    random = torch.Generator().manual_seed(0)
    options = TwoTower(negatives=negatives, id_dropout=0.0, temperature=0.5)
    features = torch.randn(len(tastes.items), 8, generator=random)
    return _Towers(features, options, random), _Pairs(to_log(tastes.training).matrix)


def mean_loss(tastes: Split, negatives: int | None, batches: int = 50) -> float:
    model, pairs = towers(tastes, negatives)
    batch = np.arange(len(pairs.users))
    with torch.no_grad():
        return float(np.mean([model.loss(pairs, batch).item() for _ in range(batches)]))


def uncorrected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "log_expected", lambda probabilities, drawn: torch.zeros(len(drawn)))


def test_the_sampled_loss_is_the_full_one_on_average(tastes: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    full = mean_loss(tastes, None, 1)
    assert mean_loss(tastes, 512) == pytest.approx(full, rel=0.01)
    uncorrected(monkeypatch)
    assert mean_loss(tastes, 512) > 1.2 * full


@pytest.fixture
def skewed() -> Dataset:
    """80 users with 8 of 60 items each, item n drawn in proportion to 1 / (n + 1)."""
    random, odds = np.random.default_rng(0), 1 / np.arange(1, 61)
    items = tidy_items(pd.DataFrame({"item_id": [f"i{n}" for n in range(60)], "title": [f"t{n}" for n in range(60)]}))
    chosen = [random.choice(60, 8, replace=False, p=odds / odds.sum()) for _ in range(80)]
    pairs = [(f"u{user}", f"i{item}") for user, own in enumerate(chosen) for item in own]
    return Dataset(items, tidy_interactions(pd.DataFrame(pairs, columns=["user_id", "item_id"])))


def scores(data: Dataset, negatives: int | None) -> NDArray[np.float32]:
    model = make_student("two-tower", {**OPTIONS, "negatives": negatives}).fit(data)
    return model.scores(sorted(set(data.interactions["user_id"])))


def agreement(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean rank correlation of users' lists."""
    return float(np.mean([spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]))


def test_the_correction_brings_the_ranking_nearer_to_that_of_the_full_softmax(
    skewed: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, corrected = scores(skewed, None), scores(skewed, 32)
    uncorrected(monkeypatch)
    plain = scores(skewed, 32)
    assert agreement(full, corrected) > agreement(full, plain) + 0.05
