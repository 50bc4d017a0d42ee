"""What every classic promises: seeded, blind to the order of rows, made of training rows alone, counted."""

from __future__ import annotations

import math
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import planted
import pytest

from llm_aug.classics import CLASSICS, TEXTS, Classic, Context, load_classic
from llm_aug.classics.budgets import even, funnel_volume, rarest_first, volume_of
from llm_aug.classics.log import canonical
from llm_aug.classics.making import write_classic
from llm_aug.config import recipe_of
from llm_aug.data import Dataset, Pair, Sample, item_texts
from llm_aug.errors import InputError
from llm_aug.run import steps
from llm_aug.sources.samples import read_samples
from llm_aug.vectors import load_encoder

VOLUME = 90


def known_styles() -> list[str]:
    return [f"{name}/{style}" for name in CLASSICS for style in loaded(name).STYLES]


def loaded(name: str, **options: Any) -> Classic:
    """Of a network two epochs: the promises hold from the first."""
    plain = load_classic(name, **options)
    if any(one.name == "epochs" for one in fields(plain)):  # type: ignore[arg-type]
        return load_classic(name, **{**options, "epochs": 2})
    return plain


def ready(dataset: Dataset, volume: int = VOLUME, seed: int = 0, folder: Path = Path("unused")) -> Any:
    tidy = canonical(dataset)
    return tidy, Context(volume, seed, folder, lambda: load_encoder("hash:64").encode(item_texts(tidy)))


def holes(dataset: Dataset) -> Dataset:
    """Every seventh genre is missing, for what fills in attributes, and users 37 to 39 have five items at most."""
    genres = [None if row % 7 == 0 else genre for row, genre in enumerate(dataset.items["genre"])]
    log = dataset.interactions
    few = log["user_id"].isin(["u37", "u38", "u39"]) & (log.groupby("user_id").cumcount() >= 5)
    items = dataset.items.assign(genre=pd.Series(genres, dtype=dataset.items["genre"].dtype).fillna(""))
    return Dataset(items, log[~few].reset_index(drop=True))


def made(entry: str, dataset: Dataset, output: Path, seed: int = 0, volume: int = VOLUME) -> list[Sample]:
    name, style = entry.split("/")
    tidy, context = ready(dataset, volume, seed, output / "checkpoints")
    write_classic(name, loaded(name, style=style), tidy, context, output)
    return list(read_samples(output))


@pytest.fixture(scope="module", params=known_styles())
def entry(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def first(entry: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Sample], Path]:
    folder = tmp_path_factory.mktemp("first")
    return made(entry, holes(planted.training()), folder), folder


def test_equal_seeds_give_equal_samples_whatever_the_order_of_the_rows(
    entry: str, first: tuple[list[Sample], Path], tmp_path: Path
) -> None:
    dataset = holes(planted.training())
    order = np.random.default_rng(0)
    shuffled = Dataset(*(frame.iloc[order.permutation(len(frame))] for frame in (dataset.items, dataset.interactions)))
    assert made(entry, shuffled, tmp_path / "again") == first[0]


def test_another_seed_gives_other_samples(entry: str, first: tuple[list[Sample], Path], tmp_path: Path) -> None:
    found = made(entry, holes(planted.training()), tmp_path / "other", seed=1)
    assert [replace(one, origin=first[0][0].origin) for one in found] != [
        replace(one, origin=first[0][0].origin) for one in first[0]
    ]


def test_ids_are_valid_and_no_real_pair_comes_again(entry: str, first: tuple[list[Sample], Path]) -> None:
    samples, _ = first
    dataset = holes(planted.training())
    real = set(zip(dataset.interactions["user_id"], dataset.interactions["item_id"], strict=True))
    items, users = set(dataset.items["item_id"]), set(dataset.interactions["user_id"])
    pairs = [(pair.user_id, pair.item_id) for sample in samples for pair in sample.interactions or ()]
    assert len({sample.sample_id for sample in samples}) == len(samples)
    assert {item for _, item in pairs} <= items
    assert len(set(pairs)) == len(pairs)
    assert not real.intersection(pairs)
    assert all(0 < sample.weight <= 1 for sample in samples)
    for sample in samples:
        if sample.kind == "interactions":
            assert {pair.user_id for pair in sample.interactions or ()} <= users
        elif sample.kind == "history":
            assert {pair.user_id for pair in sample.interactions or ()} == {sample.subject}
            assert sample.subject in users or sample.subject.startswith(entry)
        else:
            assert sample.subject in items


@pytest.mark.parametrize("volume", [7, VOLUME, 10_000])
def test_what_was_made_and_what_a_reject_says_is_missing_are_the_volume(
    entry: str, volume: int, tmp_path: Path
) -> None:
    made(entry, holes(planted.training()), tmp_path, volume=volume)
    texts = entry.partition("/")[2] in TEXTS
    samples, rejects = list(read_samples(tmp_path)), pd.read_parquet(tmp_path / "rejects.parquet")
    count = len(samples) if texts else sum(len(sample.interactions or ()) for sample in samples)
    told = [re.fullmatch(rf"(\d+) of {volume} (pairs|texts)", answer) for answer in rejects["answer"] if answer]
    missing = [int(one[1]) for one in told if one]
    assert len(missing) == len(told) == (count < volume)
    assert count + sum(missing) == volume
    counts = pd.read_json(tmp_path / "manifest.json", typ="series")["counts"]
    assert counts["asked"] == counts["parsed"] + counts["rejected"] + counts["failed"]
    assert (counts["parsed"], counts["rejected"], counts["made"]) == (len(samples), len(rejects), count)


def test_every_sample_says_where_it_comes_from(entry: str, first: tuple[list[Sample], Path]) -> None:
    assert {sample.origin.generator for sample in first[0]} == {entry}


@pytest.mark.parametrize(("items", "rows"), [(0, 0), (1, 1), (5, 0)])
def test_a_catalogue_or_a_log_of_nothing_is_refused(items: int, rows: int) -> None:
    dataset = planted.training()
    with pytest.raises(InputError, match="two items"):
        canonical(Dataset(dataset.items.iloc[:items], dataset.interactions.iloc[:rows]))


def test_options_are_checked_by_name_type_and_value() -> None:
    for name, options, words in (
        ("mixx", {}, "did you mean 'mix'"),
        ("mix", {"neighbor": 3}, "did you mean 'neighbours'"),
        ("mix", {"neighbours": "many"}, "mix.neighbours is 'many'"),
        ("mix", {"style": "item"}, "did you mean 'items'"),
        ("mix", {"bins": 0}, "at least 1"),
        ("noise", {"salt": 2}, "salt in"),
        ("noise", {"spread": math.inf}, "spread in"),
        ("mix", {"alpha": math.inf}, "finite"),
        ("transform", {"share": 1.0}, "between 0 and 1"),
        ("vae", {"epochs": 0}, "vae: hidden, latent, epochs"),
        ("vae", {"draws": 0}, "draws"),
        ("vae", {"beta": -0.1}, "beta"),
        ("vae", {"input_dropout": 1.0}, "input_dropout"),
        ("vae", {"learning_rate": math.nan}, "learning_rate"),
        ("gan", {"batch_size": 0}, "gan: components"),
        ("gan", {"components": 0}, "components"),
        ("gan", {"penalty": math.inf}, "penalty"),
        ("gan", {"learning_rate": 0.0}, "learning_rate"),
    ):
        with pytest.raises(InputError, match=words):
            load_classic(name, **options)
    with pytest.raises(InputError, match="did you mean 'alpha'"):
        recipe_of(classics={"mix": {"alfa": 1}})
    assert recipe_of(["classics.mix.alpha=0.4"]).classic("mix") == load_classic("mix", alpha=0.4)


def test_shares_are_even_under_caps_and_exact() -> None:
    assert even(10, np.array([5, 1, 5, 0])).tolist() == [5, 1, 4, 0]
    assert even(99, np.array([5, 1])).tolist() == [5, 1]
    assert even(0, np.array([5, 1])).tolist() == [0, 0]


def test_the_rarest_are_raised_first_and_what_is_left_is_shared() -> None:
    counts, caps = np.array([0, 0, 2, 4, 8]), np.full(5, 20)
    assert rarest_first(6, counts, caps, 4).tolist() == [3, 3, 0, 0, 0]  # the median of 2, 4 and 8 is not reached
    assert rarest_first(9, counts, caps, 4).tolist() == [4, 4, 1, 0, 0]
    assert rarest_first(20, counts, caps, 4).tolist() == [6, 6, 4, 2, 2]


def test_the_default_volume_is_the_funnels_and_samples_tell_theirs() -> None:
    dataset, options = planted.training(), recipe_of().funnel
    degrees = [int(dataset.interactions[name].value_counts().median()) for name in ("item_id", "user_id")]
    expected = degrees[0] * len(planted.COLD) + min(degrees[1], 20, len(planted.COLD)) * 40
    assert funnel_volume(dataset, options).total == min(expected, 40 * len(planted.COLD))
    samples = [Sample("a", "history", "u00", None, (Pair("u00", "i00"), Pair("u00", "i03")))]
    assert (volume_of("items", samples).total, volume_of("users", samples).users) == (2, {"u00": 2})
    with pytest.raises(InputError, match="hold no texts"):
        volume_of("descriptions", samples)


def test_a_run_makes_classics_after_what_they_go_by() -> None:
    recipe = recipe_of(["finetune=null"], arms=["mix", "funnel"], classics={"mix": {"style": "users"}})
    names = [step.folder.name for step in steps(recipe, Path("run"))]
    assert names[2:6] == ["04-samples-funnel", "05-kept-funnel", "04-samples-mix", "05-kept-mix"]
