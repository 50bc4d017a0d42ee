"""The autoencoder reads cold items by their content, extends histories, fills attributes, and can be resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
import torch

from llm_aug.classics import Context, Made, load_classic, networks
from llm_aug.classics.choice import EVENTS
from llm_aug.classics.log import canonical
from llm_aug.classics.networks import Plan, train
from llm_aug.data import Dataset, item_texts
from llm_aug.errors import InputError
from llm_aug.merge import merge
from llm_aug.vectors import load_encoder

SMALL: dict[str, Any] = {"hidden": 16, "latent": 4, "epochs": 20, "batch_size": 10, "learning_rate": 0.02, "draws": 4}


def context(dataset: Dataset, folder: Path, volume: int, seed: int = 0, **more: Any) -> Context:
    return Context(volume, seed, folder, lambda: load_encoder("hash:64").encode(item_texts(dataset)), **more)


def made(dataset: Dataset, folder: Path, volume: int = 60, seed: int = 0, **options: Any) -> Made:
    dataset = canonical(dataset)
    return load_classic("vae", **{**SMALL, **options}).make(dataset, context(dataset, folder, volume, seed))


def share_liked(samples: Sequence[Any]) -> float:
    """The share of pairs whose user likes the item's genre; of users drawn at random, .42."""
    genre = dict(zip(planted.catalogue()["item_id"], planted.catalogue()["genre"], strict=True))
    pairs = [pair for sample in samples for pair in sample.interactions or ()]
    return float(np.mean([genre[pair.item_id] in planted.likes(int(pair.user_id[1:])) for pair in pairs]))


def test_users_of_a_cold_item_are_those_who_like_its_genre(tmp_path: Path) -> None:
    found = made(planted.training(), tmp_path)
    samples = list(found.samples)
    assert Counter(sample.subject for sample in samples) == dict.fromkeys(planted.COLD, 5)
    assert share_liked(samples) > 0.8
    assert all(0 < sample.weight <= 1 for sample in samples)
    losses = [loss for _, loss in found.record["loss"]]
    assert losses[-1] < losses[0]


def test_the_same_seed_gives_the_same_and_another_does_not(tmp_path: Path) -> None:
    shuffled = Dataset(
        planted.training().items.sample(frac=1, random_state=1), planted.training().interactions.sample(frac=1)
    )
    one, two, other = (
        list(made(dataset, tmp_path, seed=seed, epochs=3).samples)
        for dataset, seed in ((planted.training(), 0), (shuffled, 0), (planted.training(), 1))
    )
    assert one == two
    assert one != other


def test_more_than_there_is_is_told(tmp_path: Path) -> None:
    found = made(planted.training(), tmp_path, volume=12 * 40 + 5, epochs=1)
    assert len(list(found.samples)) == 12 * 40
    assert [(one.reason, one.answer) for one in found.rejects] == [("full", "5 of 485 pairs")]


def test_histories_are_extended_by_what_the_user_lacks(tmp_path: Path) -> None:
    dataset = planted.training()
    found = list(made(dataset, tmp_path, style="histories", users_with_at_most=10, volume=70).samples)
    known = set(zip(dataset.interactions["user_id"], dataset.interactions["item_id"], strict=True))
    pairs = [(pair.user_id, pair.item_id) for sample in found for pair in sample.interactions or ()]
    assert len(pairs) == len(set(pairs)) == 70
    assert not known & set(pairs)
    counts = dataset.interactions["user_id"].value_counts()
    assert all(counts[sample.subject] <= 10 for sample in found)
    assert share_liked(found) > 0.6


def test_nobody_gets_more_than_a_task_would_ask_for(tmp_path: Path) -> None:
    found = made(planted.training(), tmp_path, style="histories", users_with_at_most=7, volume=600, epochs=1)
    lengths = [len(sample.interactions or ()) for sample in found.samples]
    assert set(lengths) == {EVENTS}
    assert [(one.reason, one.answer) for one in found.rejects] == [("full", f"{600 - sum(lengths)} of 600 pairs")]


def without_text(*items: str) -> Dataset:
    dataset = planted.training()
    frame = dataset.items.copy()
    frame.loc[frame["item_id"].isin(items), ["title", "genre"]] = ""
    return Dataset(frame, dataset.interactions)


@pytest.mark.parametrize("name", ["vae", "gan"])
def test_an_item_without_text_gets_no_invented_users(name: str, tmp_path: Path) -> None:
    dataset = canonical(without_text("i04", "i00"))  # of which one is cold
    found = load_classic(name, epochs=2).make(dataset, context(dataset, tmp_path, 60))
    assert [(reject.subject, reject.reason) for reject in found.rejects] == [("i04", "no_text")]
    counts = Counter(sample.subject for sample in found.samples)
    assert sorted(counts) == [item for item in planted.COLD if item != "i04"]
    assert counts.total() == 60


def test_an_item_without_text_is_in_no_history(tmp_path: Path) -> None:
    dataset = canonical(without_text("i04", "i00"))
    told = context(dataset, tmp_path, 60, users={"u01": 60})
    found = load_classic("vae", **SMALL, style="histories").make(dataset, told)
    chosen = {pair.item_id for sample in found.samples for pair in sample.interactions or ()}
    own = set(dataset.interactions["item_id"][dataset.interactions["user_id"] == "u01"])
    assert chosen == set(dataset.items["item_id"]) - own - {"i04", "i00"}


def test_the_profile_of_a_user_without_any_text_is_no_condition(tmp_path: Path) -> None:
    log = planted.training().interactions
    mute = set(log["item_id"][log["user_id"] == "u00"])
    dataset = canonical(without_text(*mute))
    found = load_classic("gan", style="histories", epochs=1).make(
        dataset, context(dataset, tmp_path, 8, users={"u00": 4, "u01": 4})
    )
    assert [sample.subject for sample in found.samples] == ["u01"]
    assert ("u00", "no_text") in [(reject.subject, reject.reason) for reject in found.rejects]


def test_users_that_are_told_of_get_their_own_number(tmp_path: Path) -> None:
    dataset = canonical(planted.training())
    told = context(dataset, tmp_path, 8, users={"u03": 5, "u04": 2, "new": 1})
    found = load_classic("vae", **SMALL, style="histories").make(dataset, told)
    assert {one.subject: len(one.interactions or ()) for one in found.samples} == {"u03": 5, "u04": 2}
    assert [(one.subject, one.reason) for one in found.rejects] == [("new", "no_history"), ("", "full")]


def test_blank_attributes_are_filled_from_the_closed_set_by_the_text(tmp_path: Path) -> None:
    dataset = planted.training()
    truth = dict(zip(dataset.items["item_id"], dataset.items["genre"], strict=True))
    items = dataset.items.assign(genre=dataset.items["genre"].mask(dataset.items["item_id"].isin(planted.COLD), ""))
    blank = Dataset(items, dataset.interactions)
    found = made(blank, tmp_path, style="attributes", volume=20, epochs=40, learning_rate=0.005)
    samples = list(found.samples)
    assert sorted(sample.subject for sample in samples) == planted.COLD
    assert [one.reason for one in found.rejects] == ["no_blank_cell"]
    filled = merge(blank, samples).items
    said = dict(zip(filled["item_id"], filled["genre"], strict=True))
    assert np.mean([said[item] == truth[item] for item in planted.COLD]) > 0.5  # by chance .33
    assert all(said[item] == truth[item] for item in set(truth) - set(planted.COLD))


@pytest.mark.parametrize(
    ("style", "words"),
    [("interactions", "every item has interactions"), ("histories", "no user has 0"), ("attributes", "blank")],
)
def test_nothing_to_make_for_is_said(tmp_path: Path, style: str, words: str) -> None:
    dataset = planted.training()
    warm = dataset.items[dataset.items["item_id"].isin(dataset.interactions["item_id"])]
    with pytest.raises(InputError, match=words):
        made(Dataset(warm, dataset.interactions), tmp_path, style=style, users_with_at_most=0)


def test_a_training_that_was_interrupted_ends_as_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(folder: Path, stop: int, epochs: int = 6) -> tuple[torch.Tensor, list[list[float]]]:
        model = torch.nn.Linear(3, 1)
        torch.nn.init.ones_(model.weight)
        torch.nn.init.zeros_(model.bias)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)

        def gradients(batch: torch.Tensor, generator: torch.Generator, share: float) -> Sequence[float]:
            if share >= stop / epochs:
                raise KeyboardInterrupt
            noise = torch.randn(len(batch), 3, generator=generator)
            loss = (model(noise + batch[:, None]) - share).square().mean()
            loss.backward()
            return (loss.item(),)

        plan = Plan("toy", 10, epochs, 4, context(planted.training(), folder, 1), "recipe")
        curve = train(model, optimizer, gradients, plan)
        return model.weight.detach(), curve

    whole, told = run(tmp_path / "whole", 10)
    monkeypatch.setattr(networks, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", 4)
    assert (tmp_path / "killed" / "checkpoint" / "step-12").is_dir()
    resumed, curve = run(tmp_path / "killed", 10)
    assert torch.equal(resumed, whole)
    assert curve == told
    assert not (tmp_path / "killed" / "checkpoint").exists()


def test_a_checkpoint_of_another_recipe_is_not_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # what a killed run leaves
    made(planted.training(), tmp_path, epochs=3)
    assert list((tmp_path / "checkpoint").iterdir())
    monkeypatch.undo()
    found = made(planted.training(), tmp_path, epochs=3, hidden=8)
    assert len(found.record["loss"]) == 3
    assert not (tmp_path / "checkpoint").exists()


def test_a_loss_that_explodes_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lower learning_rate"):
        made(planted.training(), tmp_path, learning_rate=1e30, epochs=2)
