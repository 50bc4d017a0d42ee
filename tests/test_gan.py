"""The GAN finds a cold item's users by its content, says when it has collapsed, and gives the same twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
from scipy.sparse import csr_matrix
from test_vae import context, share_liked

from llm_aug.classics import Made, load_classic
from llm_aug.classics.gan import reduced, spread
from llm_aug.classics.log import canonical
from llm_aug.data import Dataset
from llm_aug.errors import InputError

SMALL: dict[str, Any] = {"components": 6, "noise": 4, "hidden": 24, "epochs": 60, "batch_size": 24, "draws": 4}


def made(dataset: Dataset, folder: Path, volume: int = 60, seed: int = 0, **options: Any) -> Made:
    dataset = canonical(dataset)
    return load_classic("gan", **{**SMALL, **options}).make(dataset, context(dataset, folder, volume, seed))


def test_users_of_a_cold_item_are_those_who_like_its_genre(tmp_path: Path) -> None:
    found = made(planted.training(), tmp_path)
    samples = list(found.samples)
    assert Counter(sample.subject for sample in samples) == dict.fromkeys(planted.COLD, 5)
    assert share_liked(samples) > 0.7
    assert all(0 < sample.weight <= 1 for sample in samples)
    losses = [row["reconstruction"] for row in found.record["loss"]]
    assert losses[-1] < losses[0]
    assert not found.record["spread"]["collapsed"]


def test_the_critic_alone_teaches_the_content(tmp_path: Path) -> None:
    found = made(planted.training(), tmp_path, reconstruction=0.0, epochs=80, learning_rate=2e-3)
    assert share_liked(list(found.samples)) > 0.6


def test_histories_are_extended_by_items_with_history(tmp_path: Path) -> None:
    dataset = planted.training()
    found = list(made(dataset, tmp_path, style="histories", users_with_at_most=10, volume=40).samples)
    pairs = {(pair.user_id, pair.item_id) for sample in found for pair in sample.interactions or ()}
    known = set(zip(dataset.interactions["user_id"], dataset.interactions["item_id"], strict=True))
    assert len(pairs) == 40
    assert not pairs & known
    assert not {item for _, item in pairs} & set(planted.COLD)
    assert share_liked(found) > 0.6


def test_the_same_seed_gives_the_same_and_another_does_not(tmp_path: Path) -> None:
    one, two, other = (list(made(planted.training(), tmp_path, seed=seed, epochs=3).samples) for seed in (0, 0, 1))
    assert one == two
    assert one != other


def test_a_collapsed_generator_is_told_from_a_good_one(capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    real = random.standard_normal((50, 6)).astype(np.float32)
    good = random.standard_normal((50, 6)).astype(np.float32)
    assert not spread(good, real, 0)["collapsed"]
    assert capsys.readouterr().err == ""
    bad = spread(real[:1] + 0.01 * good, real, 0)
    assert bad["collapsed"]
    assert bad["pairwise_generated"] < 0.1 < bad["pairwise_real"]
    assert "collapsed" in capsys.readouterr().err
    copied = spread(real, real, 0)
    assert copied["nearest_real_of_generated"] < 0.01 < copied["nearest_other_of_real"]


def test_a_preference_comes_back_from_its_singular_vectors() -> None:
    rows = csr_matrix(np.array([[1, 1, 0], [0, 1, 1], [2, 0, 0]], np.float32))
    basis, real = reduced(rows, 10)
    unit = rows.toarray() / np.linalg.norm(rows.toarray(), axis=1, keepdims=True)
    np.testing.assert_allclose(real @ basis, unit, atol=1e-5)
    assert real.std() == pytest.approx(1)


def test_one_item_with_history_is_enough(tmp_path: Path) -> None:
    dataset = planted.training()
    log = dataset.interactions[dataset.interactions["item_id"] == "i00"]
    found = list(made(Dataset(dataset.items.head(5), log), tmp_path, volume=8, epochs=2).samples)
    assert len(found) == 8


def test_nothing_to_make_for_is_said(tmp_path: Path) -> None:
    dataset = planted.training()
    warm = dataset.items[dataset.items["item_id"].isin(dataset.interactions["item_id"])]
    with pytest.raises(InputError, match="every item has interactions"):
        made(Dataset(warm, dataset.interactions), tmp_path)
