from __future__ import annotations

from pathlib import Path

import numpy as np
import planted
import pytest

from llm_aug import seeds
from llm_aug.classics import Context, Made
from llm_aug.classics.log import canonical
from llm_aug.classics.noise import Noise, in_turn, misspelt
from llm_aug.data import Dataset, item_texts
from llm_aug.vectors import load_encoder

GENRE = dict(zip(planted.catalogue()["item_id"], planted.catalogue()["genre"], strict=True))


def made(noise: Noise, volume: int = 60, dataset: Dataset | None = None, users: dict[str, int] | None = None) -> Made:
    tidy = canonical(dataset or planted.training())
    vectors = load_encoder("hash:256").encode(item_texts(tidy))
    return noise.make(tidy, Context(volume, 0, Path("unused"), lambda: vectors, users or {}))


def liked(found: Made) -> float:
    """Share of the pairs whose genre the user likes: a half by chance."""
    pairs = [pair for sample in found.samples for pair in sample.interactions or ()]
    return float(np.mean([GENRE[pair.item_id] in planted.likes(int(pair.user_id[1:])) for pair in pairs]))


def test_cold_items_get_as_many_users_each_and_those_who_like_their_genre() -> None:
    found = made(Noise())
    assert {sample.subject for sample in found.samples} == set(planted.COLD)
    assert liked(found) > 0.9


def test_more_noise_finds_worse_pairs() -> None:
    assert liked(made(Noise(spread=50.0))) < 0.7 < liked(made(Noise(spread=0.1)))


def test_salt_and_pepper_alone_change_the_pairs() -> None:
    clean, salted = (list(made(Noise(spread=0, salt=salt)).samples) for salt in (0.0, 0.2))
    assert clean != salted


def test_users_get_the_numbers_that_the_samples_to_go_by_tell() -> None:
    found = made(Noise("users"), 7, users={"u01": 3, "u02": 4, "nobody": 0})
    users = [sample.interactions[0].user_id for sample in found.samples if sample.interactions]
    assert {user: users.count(user) for user in users} == {"u01": 3, "u02": 4}
    assert liked(found) > 0.9


def test_an_item_without_text_is_rejected_and_the_others_get_its_share() -> None:
    dataset = planted.training()
    items = dataset.items.copy()
    items.loc[items["item_id"] == "i04", ["title", "genre"]] = ""
    found = made(Noise(), dataset=Dataset(items, dataset.interactions))
    assert [(reject.subject, reject.reason) for reject in found.rejects] == [("i04", "no_text")]
    assert len(list(found.samples)) == 60


def test_what_the_catalogue_cannot_hold_is_told() -> None:
    found = made(Noise(), 1000)
    assert len(list(found.samples)) == 40 * len(planted.COLD)
    assert [(reject.reason, reject.answer) for reject in found.rejects] == [("full", "520 of 1000 pairs")]


def test_ratings_tremble_and_those_below_the_lowest_of_the_log_are_left_out() -> None:
    dataset = planted.training()
    rated = Dataset(
        dataset.items, dataset.interactions.assign(rating=[3.0 + row % 3 for row in range(len(dataset.interactions))])
    )
    found = made(Noise("weights", spread=0.2), dataset=rated)
    ratings = [pair.rating for sample in found.samples for pair in sample.interactions or ()]
    assert all(rating is not None and 3 <= rating <= 5 for rating in ratings)
    assert len(set(ratings)) > 10
    assert all(0.6 <= sample.weight <= 1 for sample in found.samples)


def test_descriptions_lose_swap_and_misspell_words_but_keep_their_ends() -> None:
    text = "The quick brown fox jumps over the lazy dogs while seven owls watch silently."
    noisy = {misspelt(text, 0.3, seeds.generator(0, str(number))) for number in range(20)}
    assert len(noisy) == 20
    assert all(one.startswith("The ") and one.endswith("silently.") for one in noisy)
    assert any(len(one.split()) < 14 for one in noisy)
    assert any(set(one.split()) - set(text.split()) for one in noisy)


def test_copies_take_turns() -> None:
    scores = np.array([[3, 2, 1, 0], [0, 1, 2, 3]], dtype=np.float32)
    assert in_turn(scores, np.array([False, False, False, True]), 3).tolist() == [0, 2, 1]


@pytest.mark.parametrize("style", ["items", "users"])
def test_user_cold_splits_have_somebody_to_make_pairs_for(style: str) -> None:
    dataset = planted.training()
    warm = dataset.items[dataset.items["item_id"].isin(dataset.interactions["item_id"])]
    assert len(list(made(Noise(style), 30, Dataset(warm, dataset.interactions)).samples)) == 30
