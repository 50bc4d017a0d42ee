"""Candidates in the planted world: who is played cold, what the labels say, and what a folder gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import COLD, catalogue, genre_space, likes, random_space, split, training

from llm_aug.candidates import Candidates, FunnelOptions, find_candidates, read_candidates
from llm_aug.data import Dataset, tidy_interactions
from llm_aug.errors import InputError
from llm_aug.funnel import Space
from recommender.spaces import spaces as recommender_spaces

OPTIONS = FunnelOptions(per_user=4, per_item=6, seed=3)


def both(dataset: Dataset) -> Sequence[Space]:
    return [random_space(dataset), genre_space(dataset, noise=0.3)]


def find(options: FunnelOptions = OPTIONS) -> Candidates:
    return find_candidates(training(), both, options)


def precision(found: Candidates) -> float:
    """Of the best three pseudo-cold items of each user; 0.23 of all pairs are true."""
    return float(found.pseudo.groupby("user_id").head(3)["label"].mean())


def test_cold_candidates_are_cold_items_for_users_of_their_genre() -> None:
    found = find().cold
    assert set(found["item_id"]) == set(COLD)
    genre = dict(zip(catalogue()["item_id"], catalogue()["genre"], strict=True))
    best = found.groupby("item_id").head(6)
    fits = [genre[item] in likes(int(user[1:])) for user, item in zip(best["user_id"], best["item_id"], strict=True)]
    assert np.mean(fits) > 0.7  # 42 % of all pairs
    assert not found.duplicated(["user_id", "item_id"]).any()


def test_pseudo_cold_items_are_hidden_whole_and_nothing_else_is() -> None:
    found, log = find(), training().interactions
    played = set(found.pseudo["item_id"])
    assert len(played) == round(0.2 * 48)
    assert not played & set(found.hidden.interactions["item_id"])
    assert not played & set(COLD)
    pd.testing.assert_frame_equal(found.hidden.interactions, log[~log["item_id"].isin(played)].reset_index(drop=True))


def test_labels_are_what_the_log_says() -> None:
    found, log = find(), training().interactions
    true = set(zip(log["user_id"], log["item_id"], strict=True))
    pairs = list(zip(found.pseudo["user_id"], found.pseudo["item_id"], strict=True))
    assert list(found.pseudo["label"]) == [pair in true for pair in pairs]
    assert 0 < found.pseudo["label"].sum() < len(pairs)
    assert not found.pseudo.duplicated(["user_id", "item_id"]).any()


def test_spaces_never_see_what_is_played_cold() -> None:
    seen: list[Dataset] = []

    def watched(dataset: Dataset) -> Sequence[Space]:
        seen.append(dataset)
        return both(dataset)

    found = find_candidates(training(), watched, OPTIONS)
    hidden, whole = seen
    assert not set(hidden.interactions["item_id"]) & set(found.pseudo["item_id"])
    assert len(whole.interactions) == len(training().interactions)


def test_nothing_of_the_test_part_is_seen() -> None:
    cut = split()
    assert len(cut.test) > 50
    assert not set(COLD) & set(find().hidden.interactions["item_id"])
    other = replace(cut, test=cut.test.assign(user_id="canary"))
    found = find_candidates(other.training, both, OPTIONS)
    assert found.fingerprint == find().fingerprint
    assert "canary" not in {*found.cold["user_id"], *found.pseudo["user_id"]}


def test_the_informative_space_is_found() -> None:
    def swapped(dataset: Dataset) -> Sequence[Space]:
        return both(dataset)[::-1]

    def noise(dataset: Dataset) -> Sequence[Space]:
        return both(dataset)[:1]

    assert find().blend == 0.75  # the most that the second space can get
    assert find_candidates(training(), swapped, OPTIONS).blend < 0.5
    alone = find_candidates(training(), lambda dataset: both(dataset)[1:], OPTIONS)
    assert alone.blend == 0.0
    assert precision(alone) > 0.4 > 0.3 > precision(find_candidates(training(), noise, OPTIONS))


def test_same_seed_same_candidates_and_another_seed_others() -> None:
    first, again, other = find(), find(), find(replace(OPTIONS, seed=4))
    pd.testing.assert_frame_equal(first.pseudo, again.pseudo)
    pd.testing.assert_frame_equal(first.cold, again.cold)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert set(first.pseudo["item_id"]) != set(other.pseudo["item_id"])


def test_order_of_the_log_does_not_matter() -> None:
    log = training().interactions
    shuffled = replace(training(), interactions=log.sample(frac=1, random_state=1, ignore_index=True))
    assert find_candidates(shuffled, both, OPTIONS).fingerprint == find().fingerprint


def test_pairs_per_item_default_to_the_median_of_the_log() -> None:
    found = find(replace(OPTIONS, per_item=None))
    assert found.per_item == int(training().interactions["item_id"].value_counts().median())
    assert found.cold.groupby("item_id").size().min() >= round(1.5 * found.per_item)


def test_no_more_users_are_asked_for_than_there_are() -> None:
    found = find(replace(OPTIONS, per_item=1000))
    assert found.per_item == 40
    assert len(found.cold) == 40 * len(COLD)


def test_a_folder_gives_back_what_was_written(tmp_path: Path) -> None:
    found = find()
    found.write(tmp_path)
    read = read_candidates(tmp_path, training())
    assert read is not None
    assert read.fingerprint == found.fingerprint
    for name in ("cold", "pseudo"):
        pd.testing.assert_frame_equal(getattr(read, name), getattr(found, name), check_dtype=False)
    pd.testing.assert_frame_equal(read.hidden.interactions, found.hidden.interactions)
    assert (read.per_item, read.per_user, read.blend) == (found.per_item, found.per_user, found.blend)


def test_a_half_written_folder_is_none(tmp_path: Path) -> None:
    assert read_candidates(tmp_path, training()) is None
    find().write(tmp_path)
    (tmp_path / "funnel.json").unlink()
    assert read_candidates(tmp_path, training()) is None


def test_a_damaged_folder_is_an_error_not_an_answer(tmp_path: Path) -> None:
    find().write(tmp_path)
    (tmp_path / "pseudo.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"pseudo\.parquet is not a readable parquet"):
        read_candidates(tmp_path, training())


def test_without_cold_items_there_is_nothing_to_do() -> None:
    items = catalogue()
    dataset = Dataset(items[~items["item_id"].isin(COLD)].reset_index(drop=True), training().interactions)
    with pytest.raises(InputError, match="no cold item to simulate for; split with a cold fraction"):
        find_candidates(dataset, both, OPTIONS)


@pytest.mark.parametrize("kept", [0, 9])
def test_too_few_warm_items_are_an_input_error(kept: int) -> None:
    log = training().interactions
    few = sorted(set(log["item_id"]))[:kept]
    dataset = Dataset(catalogue(), tidy_interactions(log[log["item_id"].isin(few)]))
    with pytest.raises(InputError, match=f"{kept} items have interactions, the funnel needs at least 10"):
        find_candidates(dataset, both, OPTIONS)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (FunnelOptions(per_user=0), "per_user is at least 1, not 0"),
        (FunnelOptions(per_item=0), "per_item is at least 1, not 0"),
        (FunnelOptions(pool=0.5), r"pool is at least 1, not 0\.5"),
        (FunnelOptions(pseudo_fraction=1.0), r"pseudo_fraction lies between 0 and 0\.9, not 1\.0"),
    ],
)
def test_options_that_cannot_be_are_refused(options: FunnelOptions, says: str) -> None:
    with pytest.raises(InputError, match=says):
        find(options)


def test_the_students_spaces_find_the_genre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_AUG_CACHE", str(tmp_path))
    fitted = recommender_spaces("hash:64", epochs=5)(training())
    assert [space.name for space in fitted] == ["tower", "content"]
    for space in fitted:
        assert (len(space.users), len(space.items)) == (40, 60)
    tastes = training().interactions.groupby("user_id")["item_id"].agg(list)
    places = {item: place for place, item in enumerate(training().items["item_id"])}
    for row, items in enumerate(tastes):
        mean = fitted[1].items[[places[item] for item in items]].mean(axis=0)
        np.testing.assert_allclose(fitted[1].users[row], mean, atol=1e-5)
    found = find_candidates(training(), recommender_spaces("hash:64", epochs=5), OPTIONS)
    assert precision(found) > 0.4


def test_pairs_per_user_default_to_what_users_have_brought() -> None:
    found = find(replace(OPTIONS, per_user=None))
    assert found.per_user == int(training().interactions["user_id"].value_counts().median())
    assert found.per_user <= 20
