"""The GAN finds a cold item's users by its content, says when it has collapsed, and gives the same twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
import torch
from scipy.sparse import csr_matrix
from test_vae import context, share_liked

from llm_aug.classics import Made, gan, load_classic
from llm_aug.classics.collapse import LEAST, spread
from llm_aug.classics.gan import Networks, reduced, train
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
    assert found.record["spread"]["collapsed"] == []


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


@pytest.mark.parametrize("style", ["interactions", "histories"])
def test_a_training_by_default_has_not_collapsed(
    style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = canonical(planted.training())
    gan = load_classic("gan", style=style, users_with_at_most=10)
    told = gan.make(dataset, context(dataset, tmp_path, 60)).record["spread"]
    assert told["collapsed"] == []
    for name, least in LEAST.items():
        assert min(told[name]["generated"], told[name]["wanted"]) > 2 * least * told[name]["real"]
    assert "collapsed" not in capsys.readouterr().err


@pytest.mark.parametrize(("name", "rows"), [("noise", slice(0, 4)), ("condition", slice(4, None))])
def test_a_generator_that_ignores_an_input_is_told(
    name: str, rows: slice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """rows: of the first layer's inputs, those of the noise or of the condition."""

    def deaf(model: Networks, *arguments: Any) -> list[list[float]]:
        curve = train(model, *arguments)
        with torch.no_grad():
            model.generator.layers[0].weight[:, rows] = 0
        return curve

    monkeypatch.setattr(gan, "train", deaf)
    found = made(planted.training(), tmp_path).record["spread"]
    assert found["collapsed"] == [name]
    assert found[name]["generated"] == pytest.approx(0, abs=1e-2)
    assert found[name]["wanted"] == pytest.approx(0, abs=1e-2)
    assert f"collapsed: whatever the {name}" in capsys.readouterr().err


def test_a_generator_that_is_deaf_for_what_is_wanted_alone_is_told() -> None:
    random = np.random.default_rng(0)
    real = random.standard_normal((50, 6)).astype(np.float32)

    def make(conditions: Any, draws: int, seed: int) -> Any:
        noise = random.standard_normal((draws, len(conditions), 6)).astype(np.float32)
        return (
            conditions + noise
            if len(conditions) == 50
            else conditions[:1] * 0 + noise[:, :1].repeat(len(conditions), 1)
        )

    assert spread(make, real, real, real[:20], 0)["collapsed"] == ["condition"]
    assert spread(make, real, real, real, 0)["collapsed"] == []
    copied = spread(lambda rows, draws, seed: np.stack([rows] * draws), real, real, real, 0)
    assert copied["nearest_real_of_generated"] < 0.01 < copied["nearest_other_of_real"]


def test_a_preference_comes_back_from_its_singular_vectors() -> None:
    rows = csr_matrix(np.array([[1, 1, 0], [0, 1, 1], [2, 0, 0]], np.float32))
    basis, real = reduced(rows, 10)
    unit = rows.toarray() / np.linalg.norm(rows.toarray(), axis=1, keepdims=True)
    np.testing.assert_allclose(real @ basis, unit, atol=1e-5)
    assert np.square(real).mean() == pytest.approx(1)


def test_one_item_with_history_is_enough(tmp_path: Path) -> None:
    dataset = planted.training()
    log = dataset.interactions[dataset.interactions["item_id"] == "i00"]
    found = made(Dataset(dataset.items.head(5), log), tmp_path, volume=8, epochs=2)
    assert len(list(found.samples)) == 8
    assert all(row["reconstruction"] < 10 for row in found.record["loss"])  # of entries of about 1
    assert found.record["spread"]["collapsed"] == []


def test_nothing_to_make_for_is_said(tmp_path: Path) -> None:
    dataset = planted.training()
    warm = dataset.items[dataset.items["item_id"].isin(dataset.interactions["item_id"])]
    with pytest.raises(InputError, match="every item has interactions"):
        made(Dataset(warm, dataset.interactions), tmp_path)
