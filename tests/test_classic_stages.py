"""Every classic as a stage: blind to held-out rows, ended by the same command after a kill, as large as was asked for.

Item-cold splits without samples to go by; see test_user_cold.py for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import planted
import pytest
from test_classics import holes, known_styles

from llm_aug import seeds
from llm_aug.classics import CLASSICS, networks
from llm_aug.classics.budgets import funnel_volume
from llm_aug.classics.choice import EVENTS
from llm_aug.config import recipe_of
from llm_aug.data import Sample, Split
from llm_aug.errors import InputError, ResumeRefused
from llm_aug.generators import Wanted, generate_samples
from llm_aug.progress import Meter, read_progress
from llm_aug.sources.samples import read_samples
from llm_aug.splits import split_hash, write_split
from llm_aug.stage import check
from llm_aug.tasks.history import History

QUICK = ["encoder=hash:64", "history.users_with_at_most=10", "history.events=3"]
SMALL = {"epochs": 3, "hidden": 8, "batch_size": 20}


def with_holes(**parts: Any) -> Split:
    """The planted split, some genres blank, with other parts."""
    found = planted.split()
    found = replace(found, items=holes(found.training).items, **parts)
    return replace(found, hash=split_hash(found.items, (found.train, found.validation, found.test)))


@pytest.fixture
def split(tmp_path: Path) -> Path:
    write_split(tmp_path / "split", with_holes())
    return tmp_path / "split"


def stage(entry: str, split: Path, output: Path, *overrides: str) -> list[Sample]:
    """Samples without the hash of their split."""
    name, style = entry.split("/")
    recipe = recipe_of([*QUICK, *overrides], classics={name: {"style": style, **(SMALL if learns(entry) else {})}})
    generate_samples(recipe, Wanted(None, name), split, None, output)
    return [replace(one, origin=replace(one.origin, split_hash="")) for one in read_samples(output)]


def learns(entry: str) -> bool:
    return entry.startswith(("vae", "gan"))


def after(calls: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """As `real`, then the user loses patience."""
    left = [calls]

    def wrapped(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    return wrapped


@pytest.mark.parametrize("entry", known_styles())
def test_held_out_rows_are_never_read(entry: str, split: Path, tmp_path: Path) -> None:
    test = planted.split().test
    other = test.iloc[::2].assign(user_id="u00", timestamp=7, rating=1.0).reset_index(drop=True)
    write_split(tmp_path / "other", with_holes(test=other, validation=test.iloc[1::2].reset_index(drop=True)))
    assert stage(entry, split, tmp_path / "one") == stage(entry, tmp_path / "other", tmp_path / "two")


@pytest.mark.parametrize("entry", known_styles())
def test_a_killed_stage_leaves_nothing_half_and_the_same_command_ends_it(
    entry: str, split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stage(entry, split, tmp_path / "whole")
    monkeypatch.setattr(networks, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        if learns(entry):
            patch.setattr(Meter, "advance", after(2, Meter.advance))
        else:
            patch.setattr(seeds, "generator", after(2, seeds.generator))
        with pytest.raises(KeyboardInterrupt):
            stage(entry, split, tmp_path / "made")
    assert not list(tmp_path.glob("made/*samples*"))
    assert bool(list(tmp_path.glob("made/.checkpoints/*/checkpoint/step-*"))) == learns(entry)
    with pytest.raises(InputError, match=f"unfinished {entry}"):
        check(tmp_path / "made")
    assert stage(entry, split, tmp_path / "made") == whole
    assert not (tmp_path / "made" / ".checkpoints").exists()


def test_a_stage_is_done_once_and_another_recipe_refused(split: Path, tmp_path: Path) -> None:
    for _ in range(2):
        stage("mix/items", split, tmp_path / "made")
    with pytest.raises(ResumeRefused, match=r"alpha was 2.0, is 0.5"):
        stage("mix/items", split, tmp_path / "made", "classics.mix.alpha=0.5")


def test_items_get_as_many_pairs_as_from_the_funnel(split: Path, tmp_path: Path) -> None:
    pairs = sum(len(one.interactions or ()) for one in stage("mix/items", split, tmp_path / "made"))
    assert pairs == funnel_volume(planted.training(), recipe_of().funnel).total


@pytest.mark.parametrize("entry", ["vae/histories", "gan/histories"])
def test_histories_are_as_long_as_a_task_would_be_asked_for(entry: str, split: Path, tmp_path: Path) -> None:
    found = stage(entry, split, tmp_path / "made")
    counts = planted.training().interactions["user_id"].value_counts()
    few = set(counts.index[counts <= 10])
    assert 3 < len(few) < 40
    assert {one.subject: len(one.interactions or ()) for one in found} == dict.fromkeys(few, 3)


def test_whom_nothing_gives_a_number_gets_that_of_a_task() -> None:
    assert History.events == EVENTS


@pytest.mark.parametrize("entry", ["vae/interactions", "vae/attributes", "gan/interactions"])
def test_status_can_read_how_far_a_training_is(
    entry: str, split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = Meter.advance

    def advance(meter: Meter, *arguments: Any) -> None:
        seen.append(read_progress(tmp_path / "made"))
        real(meter, *arguments)

    monkeypatch.setattr(Meter, "advance", advance)
    stage(entry, split, tmp_path / "made")
    assert [(one["stage"], one["total"]) for one in seen if one] == [(entry.partition("/")[0], 3)] * 3
    assert read_progress(tmp_path / "made") is None


def test_every_classic_is_tried() -> None:
    assert {entry.partition("/")[0] for entry in known_styles()} == set(CLASSICS)
