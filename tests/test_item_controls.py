from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from llm_aug.data import Dataset, Pair, Sample, tidy_interactions, tidy_items
from llm_aug.errors import InputError, ShortOfTarget
from llm_aug.item_controls import ITEM_CONTROLS, as_many_as, of_few_events, other_items, write_controls
from llm_aug.sources.samples import read_samples
from llm_aug.vectors import load_encoder

ENCODER = load_encoder("hash:256")


def films() -> Dataset:
    """War films w0 to w9, comedies c0 to c9; c0 is the most popular, then c1; ann likes war, new has seen c0 alone."""
    items = [(f"{kind[0]}{n}", f"{kind} film number {n}") for kind in ("war", "comedy") for n in range(10)]
    log = [("ann", f"w{n}") for n in range(3)]
    log += [(f"u{user}", "c0") for user in range(5)] + [(f"u{user}", "c1") for user in range(4)] + [("new", "c0")]
    return Dataset(
        tidy_items(pd.DataFrame(items, columns=["item_id", "title"])),
        tidy_interactions(pd.DataFrame(log, columns=["user_id", "item_id"])),
    )


def chosen(control: str, wanted: dict[str, int], seed: int = 0) -> dict[str, list[str]]:
    return dict(other_items(control, wanted, films(), ENCODER, seed))


@pytest.mark.parametrize("control", ITEM_CONTROLS)
def test_each_user_gets_as_many_new_items_as_asked(control: str) -> None:
    found = chosen(control, {"new": 4, "ann": 2})
    assert {user: len(items) for user, items in found.items()} == {"ann": 2, "new": 4}
    assert not set(found["ann"]) & {"w0", "w1", "w2"}
    assert "c0" not in found["new"]
    assert all(len(set(items)) == len(items) for items in found.values())


def test_popular_items_are_the_most_popular_that_the_user_does_not_have() -> None:
    assert chosen("popular-items", {"ann": 2, "new": 2}) == {"ann": ["c0", "c1"], "new": ["c1", "w0"]}


def test_similar_items_are_like_what_the_user_has() -> None:
    found = chosen("similar-items", {"ann": 7, "new": 9})
    assert {item[0] for item in found["ann"]} == {"w"}
    assert {item[0] for item in found["new"]} == {"c"}


def test_random_items_depend_on_user_and_seed_alone() -> None:
    one, other = chosen("random-items", {"ann": 5}), chosen("random-items", {"ann": 5, "new": 5})
    assert one["ann"] == other["ann"]
    assert chosen("random-items", {"ann": 5}, seed=1) != one


def test_where_fewer_are_left_the_user_gets_those() -> None:
    assert len(chosen("random-items", {"ann": 99})["ann"]) == 17


def test_volumes_come_from_samples_or_from_the_log() -> None:
    pairs = (Pair("ann", "w3"), Pair("ann", "w4"))
    samples = [Sample("a", "history", "ann", None, pairs), Sample("b", "history", "new", None, (Pair("new", "w3"),))]
    assert as_many_as(samples) == {"ann": 2, "new": 1}
    assert of_few_events(films(), 1, 5) == {"new": 5, "u4": 5}
    with pytest.raises(InputError, match="hold no pairs"):
        as_many_as([Sample("t", "description", "w0", "words")])
    with pytest.raises(InputError, match="no user has 0 events"):
        of_few_events(films(), 0, 5)


def test_the_folder_holds_samples_rejects_and_their_origin(tmp_path: Path) -> None:
    wanted = {"ann": 2, "stranger": 2}
    result = write_controls("similar-items", wanted, films(), tmp_path, ENCODER, seed=3, split_hash="abc")
    assert (result.asked, result.parsed, result.rejected) == (2, 1, 1)
    (sample,) = read_samples(tmp_path)
    assert (sample.kind, sample.subject, sample.origin.split_hash) == ("history", "ann", "abc")
    assert [pair.user_id for pair in sample.interactions or ()] == ["ann", "ann"]
    assert pd.read_parquet(tmp_path / "rejects.parquet")["reason"].tolist() == ["no_history"]


def test_an_arm_without_any_item_is_short_of_its_target(tmp_path: Path) -> None:
    with pytest.raises(ShortOfTarget, match="none of 1 users got an item"):
        write_controls("similar-items", {"stranger": 2}, films(), tmp_path, ENCODER)
