"""Pairs and texts at the same volume, on the wrong items."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from planted import training

from eval.arms import read_arm
from llm_aug.config import recipe_of
from llm_aug.controls import SHUFFLED_TEXTS, other_texts, other_users
from llm_aug.data import Origin, Sample, Split
from llm_aug.errors import InputError
from llm_aug.files import write_parquet
from llm_aug.generators import Wanted, generate_samples
from llm_aug.splits import write_split
from llm_aug.tables import samples_table


def test_shuffled_pairs_are_the_funnels_on_other_items() -> None:
    rows = [("u00", "i04", 0.5), ("u01", "i04", 1.0), ("u00", "i09", 0.7)]
    some = pd.DataFrame(rows, columns=["user_id", "item_id", "weight"])
    items = ["i04", "i09", "i14"]  # i14 got no user from the funnel
    found = {seed: other_users("shuffled", some, training(), items, seed) for seed in range(9)}
    for pairs in found.values():
        assert pairs[["user_id", "weight"]].equals(some[["user_id", "weight"]])
        assert (pairs["item_id"] != some["item_id"]).all()
        assert pairs["item_id"].nunique() == 2
        assert pairs["item_id"][0] == pairs["item_id"][1]
    assert len({tuple(pairs["item_id"]) for pairs in found.values()}) == 2  # both cycles of three
    assert found[1].equals(other_users("shuffled", some, training(), items[::-1], 1))
    with pytest.raises(InputError, match="there is only 'i04'"):
        other_users("shuffled", some[:2], training(), ["i04"], 0)


def test_shuffled_texts_are_the_same_texts_on_other_items_that_have_some() -> None:
    origin = Origin("rewrite/describe", split_hash="s1")
    written = [Sample(f"{item}/{n}", "description", item, f"of {item}", origin=origin) for item in "abc" for n in "01"]
    found = other_texts([*written, Sample("x", "interactions", "a", interactions=())], seed=0)
    assert [sample.text for sample in found] == [sample.text for sample in written]
    assert all(sample.text != f"of {sample.subject}" for sample in found)
    assert Counter(sample.subject for sample in found) == Counter("aabbcc")
    assert {sample.origin.split_hash for sample in found} == {"s1"}
    with pytest.raises(InputError, match="hold no texts"):
        other_texts([], seed=0)


def test_shuffled_texts_are_an_arm_without_a_filter(tastes: Split, tmp_path: Path) -> None:
    write_split(tmp_path / "split", tastes)
    origin = Origin("rewrite/describe", split_hash=tastes.hash)
    written = [Sample(item, "description", item, f"of {item}", origin=origin) for item in ("i0", "i1", "i2")]
    write_parquet(tmp_path / "kept" / "kept.parquet", samples_table(written))
    wanted = Wanted(None, SHUFFLED_TEXTS, tmp_path / "kept")
    generate_samples(recipe_of(seeds=[0]), wanted, tmp_path / "split", None, tmp_path / "shuffled")
    arm = read_arm("wrong", tmp_path / "shuffled", tastes)
    assert arm.texts == 3
    assert {(sample.text or "").removeprefix("of ") for sample in arm.samples} == {"i0", "i1", "i2"}
    assert all(sample.text != f"of {sample.subject}" for sample in arm.samples)
    with pytest.raises(InputError, match="name them with --from"):
        generate_samples(recipe_of(), Wanted(None, SHUFFLED_TEXTS), tmp_path / "split", None, tmp_path / "none")
