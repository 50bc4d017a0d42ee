"""Distances whose answer is known, and invented users who are copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.closeness import dcr_share, invented_users, main, nndr, nndr_share
from eval.split import SplitOptions, cut
from llm_aug.data import Dataset, Pair, Sample, Split, tidy_interactions, tidy_items
from llm_aug.errors import InputError
from llm_aug.files import write_parquet
from llm_aug.splits import write_split
from llm_aug.tables import samples_table
from llm_aug.vectors import unit


def angles(*degrees: float) -> Any:
    turned = np.deg2rad(degrees)
    return unit(np.stack([np.cos(turned), np.sin(turned)], axis=1))


def test_dcr_is_the_share_nearer_to_what_was_seen() -> None:
    training, holdout = angles(0, 90), angles(40, 130)
    assert dcr_share(angles(1, 91), training, holdout) == 1.0
    assert dcr_share(angles(41, 129), training, holdout) == 0.0
    assert dcr_share(angles(1, 41), training, holdout) == 0.5
    assert dcr_share(angles(20), training, holdout) == 0.5  # as far from both: a half
    assert dcr_share(angles(7, 80, 33), training, training) == 0.5
    with pytest.raises(InputError, match="rows on both sides"):
        dcr_share(training, training, holdout[:0])


def test_nndr_is_near_zero_for_a_copy() -> None:
    real = angles(0, 60)
    assert nndr(angles(0, 30), real).tolist() == pytest.approx([0.0, 1.0], abs=1e-5)
    expected = (1 - np.cos(np.deg2rad(10))) / (1 - np.cos(np.deg2rad(50)))
    assert nndr(angles(10), real)[0] == pytest.approx(expected, rel=1e-4)
    assert nndr(angles(5), angles(5, 5)).tolist() == [1.0]  # two twins single out nobody
    assert nndr_share(angles(0.5), angles(0, 60), angles(20, 60)) == 1.0
    with pytest.raises(InputError, match="two real rows"):
        nndr(real, real[:1])


def people(split_folder: Path) -> Split:
    """Sixty users with five of thirty items each; a third of the users is left out of the training."""
    draw = np.random.default_rng(0)
    rows = [(f"u{user:02}", f"i{item}") for user in range(60) for item in draw.permutation(30)[:5]]
    items = tidy_items(
        pd.DataFrame({"item_id": [f"i{n}" for n in range(30)], "title": [f"thing {n}" for n in range(30)]})
    )
    log = tidy_interactions(pd.DataFrame(rows, columns=["user_id", "item_id"]))
    split = cut(Dataset(items, log), SplitOptions(strategy="user-random", cold_fraction=0.33))
    write_split(split_folder, split)
    return split


def stories(log: pd.DataFrame, users: Sequence[str]) -> list[Sample]:
    """Invented users with the histories of real ones."""
    return [
        Sample(f"h/{user}", "history", f"new/{user}", interactions=tuple(Pair(f"new/{user}", item) for item in rows))
        for user, rows in log[log["user_id"].isin(users)].groupby("user_id")["item_id"]
    ]


def test_copies_of_training_users_are_nearer_to_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = people(tmp_path / "split")
    known = sorted(set(split.train["user_id"]) - set(split.cold_users))
    copies = invented_users(stories(split.train, known), split)
    strangers = invented_users(stories(split.test, split.cold_users), split)
    assert copies["dcr_share"] > 0.7
    assert strangers["dcr_share"] < 0.3
    write_parquet(tmp_path / "kept.parquet", samples_table(stories(split.train, known)))
    assert main([str(tmp_path / "split"), str(tmp_path / "kept.parquet")]) == 0
    assert "nearer to a training user than to one left out: " in capsys.readouterr().out


def test_without_users_left_out_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    split = people(tmp_path)
    with pytest.raises(InputError, match="no sample is the history of an invented user"):
        invented_users([], split)
    with pytest.raises(InputError, match="--strategy user-random"):
        invented_users([], replace(split, cold_users=()))
