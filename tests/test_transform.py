from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import planted
import pytest

from llm_aug import seeds
from llm_aug.classics import Context, Made
from llm_aug.classics.log import Event, Log, canonical
from llm_aug.classics.transform import SHARES, Similar, Transform, crop, mask, reorder
from llm_aug.data import Dataset, item_texts, tidy_interactions, tidy_items
from llm_aug.filters import run
from llm_aug.vectors import load_encoder

EVENTS = [Event(item, 100 + 10 * item, None, 1.0) for item in range(10)]
GENRE = dict(zip(planted.catalogue()["item_id"], planted.catalogue()["genre"], strict=True))


def made(transform: Transform, dataset: Dataset, volume: int = 60) -> Made:
    tidy = canonical(dataset)
    vectors = load_encoder("hash:256").encode(item_texts(tidy))
    return transform.make(tidy, Context(volume, 0, Path("unused"), lambda: vectors))


def items(events: list[Event]) -> list[int]:
    return [event.item for event in events]


@pytest.mark.parametrize("number", range(5))
def test_crop_keeps_a_run_mask_leaves_some_out_and_reorder_shuffles_items_over_the_same_times(number: int) -> None:
    random = seeds.generator(0, number)
    cropped, masked, shuffled = (change(EVENTS, 0.6, random) for change in (crop, mask, reorder))
    assert items(cropped) == list(range(cropped[0].item, cropped[0].item + 6))
    assert len(masked) == 4
    assert items(masked) == sorted(items(masked))
    assert sorted(items(shuffled)) == list(range(10))
    assert [event.timestamp for event in shuffled] == [event.timestamp for event in EVENTS]
    moved = [place for place, event in enumerate(shuffled) if event.item != place]
    assert max(moved) - min(moved) < 6


def shop() -> Dataset:
    """a and b are bought together, c has the words of a and nobody, d is alone."""
    catalogue = tidy_items(
        pd.DataFrame({"item_id": list("abcd"), "title": ["red pen", "blue cup", "red pen new", "x"]})
    )
    log = [("u0", "a"), ("u0", "b"), ("u1", "a"), ("u1", "b"), ("u2", "d")]
    return Dataset(catalogue, tidy_interactions(pd.DataFrame(log, columns=["user_id", "item_id"])))


def test_similar_items_are_those_of_the_same_users_or_of_like_text() -> None:
    tidy = canonical(shop())
    vectors = load_encoder("hash:256").encode(item_texts(tidy))
    similar = Similar(Log(tidy), Context(1, 0, Path("unused"), lambda: vectors), "both", 2)
    assert similar.of(0, "log").tolist() == [1]
    assert similar.of(0, "text")[0] == 2
    assert similar.of(2, "log").tolist() == []


def test_only_text_brings_in_cold_items() -> None:
    by_text, by_log = (
        {pair.item_id for one in made(Transform(by=by), planted.training()).samples for pair in one.interactions or ()}
        for by in ("text", "log")
    )
    assert by_text & set(planted.COLD)
    assert not by_log & set(planted.COLD)


def test_substitutes_are_of_the_users_own_taste() -> None:
    found = made(Transform(by="text"), planted.training(), 300)
    pairs = [
        GENRE[pair.item_id] in planted.likes(int(one.origin.parents[0][1:]))
        for one in found.samples
        for pair in one.interactions or ()
    ]
    assert np.mean(pairs) > 0.9


def test_insertions_fall_between_the_users_own_events() -> None:
    dataset = planted.training()
    log = dataset.interactions.assign(timestamp=2 * dataset.interactions["timestamp"])
    *whole, _ = made(Transform("insert"), Dataset(dataset.items, log), 200).samples  # the last one is cut
    for sample in whole:
        own = log[log["user_id"] == sample.origin.parents[0]]
        found = [(pair.item_id, pair.timestamp) for pair in sample.interactions or ()]
        assert set(zip(own["item_id"], own["timestamp"], strict=True)) < set(found)
        assert [time for _, time in found] == sorted({time for _, time in found})


def test_a_log_without_times_or_with_equal_ones_is_no_obstacle() -> None:
    for style in SHARES:
        found = made(Transform(style), shop(), 3)
        assert all(pair.timestamp is None for one in found.samples for pair in one.interactions or ())


def test_the_filter_drops_what_repeats_a_real_user_unless_copies_are_allowed() -> None:
    samples = list(made(Transform("crop"), planted.training(), 200).samples)
    encoder = load_encoder("hash:256")
    reasons = run(samples, planted.training(), encoder).reasons
    allowed = run(samples, planted.training(), encoder, {"pairs": {"copies": True}}).reasons
    assert reasons["copied_history"] > len(samples) / 2
    assert "copied_history" not in allowed


def test_a_user_of_one_event_cannot_be_cropped() -> None:
    found = made(Transform("crop"), shop(), 50)
    assert ("u2", "unchanged") in [(reject.subject, reject.reason) for reject in found.rejects]
