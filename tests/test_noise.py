from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import planted
import pytest

from llm_aug import seeds
from llm_aug.classics import Context, Made
from llm_aug.classics.log import canonical, centred
from llm_aug.classics.networks import content_of
from llm_aug.classics.noise import Noise, in_turn, misspelt
from llm_aug.data import Dataset, Sample, item_texts
from llm_aug.grade import FLOOR
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


def test_a_row_that_is_no_direction_moves_no_other() -> None:
    rows = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32) + 3
    spoilt = np.vstack([rows, np.full((1, 4), np.nan), np.zeros((1, 4))]).astype(np.float32)
    for own in (centred, content_of):
        np.testing.assert_allclose(own(spoilt)[:6], own(rows), atol=1e-5)
        assert not own(spoilt)[6:].any()
        assert not own(spoilt[6:]).any()


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


def rated(values: Sequence[float]) -> Dataset:
    """The ratings in turn."""
    dataset = planted.training()
    log = dataset.interactions
    return Dataset(dataset.items, log.assign(rating=[values[row % len(values)] for row in range(len(log))]))


def stories(found: Made) -> list[tuple[Sample, list[str]]]:
    """Each sample with the items of the user that it is made of."""
    log = canonical(planted.training()).interactions
    own = {user: list(items) for user, items in log.groupby("user_id")["item_id"]}
    return [(sample, own[sample.origin.parents[0]]) for sample in found.samples]


def test_a_history_whose_ratings_changed_is_another_though_no_row_was_lost() -> None:
    found = made(Noise("weights", spread=0.01, salt=0), dataset=rated([3, 3.5, 4, 4.5]))  # noise that loses few rows
    same = [sample for sample, own in stories(found)[:-1] if len(sample.interactions or ()) == len(own)]
    assert same
    assert len({sample.interactions for sample in same}) == len(same)


def test_without_noise_a_history_is_unchanged() -> None:
    found = made(Noise("weights", spread=0, salt=0), dataset=rated([3, 4, 5]))
    assert {sample.subject for sample in found.samples} <= {"noise/weights/0"}  # the last one is cut
    assert {reject.reason for reject in found.rejects if reject.subject} == {"unchanged"}


def test_in_a_log_without_ratings_the_sample_gets_a_weight_and_no_row_is_lost() -> None:
    found = made(Noise("weights", spread=0.3), 600)
    whole = stories(found)[:-1]  # the last one is cut
    assert all([pair.item_id for pair in sample.interactions or ()] == own for sample, own in whole)
    weights = [sample.weight for sample, _ in whole]
    assert all(FLOOR <= weight <= 1 for weight in weights)
    assert np.std(weights) > 0.02
    assert 0.8 < np.mean(weights) < 0.95  # of 1 less the half of a Gaussian that lies below, .12 on average
    assert {pair.rating for sample, _ in whole for pair in sample.interactions or ()} == {None}


def test_equal_ratings_stay_and_the_weight_trembles() -> None:
    whole = stories(made(Noise("weights", spread=0.3), 200, rated([4])))[:-1]
    assert {pair.rating for sample, _ in whole for pair in sample.interactions or ()} == {4}
    assert all(len(sample.interactions or ()) == len(own) for sample, own in whole)


def test_salt_makes_ratings_the_largest_or_the_smallest_of_the_log() -> None:
    found = made(Noise("weights", spread=0, salt=0.5), 300, rated([3, 4, 4, 4, 4, 5]))
    ratings = [pair.rating for sample in found.samples for pair in sample.interactions or ()]
    assert set(ratings) == {3, 4, 5}
    assert all(0.25 < ratings.count(end) / len(ratings) < 0.42 for end in (3, 5))  # .17 before, .33 after


def test_descriptions_lose_and_misspell_words_but_keep_their_ends() -> None:
    text = "The quick brown fox jumps over the lazy dogs while seven owls watch silently."
    noisy = {misspelt(text, 0.3, seeds.generator(0, str(number))) for number in range(20)}
    assert len(noisy) == 20
    assert all(one.startswith("The ") and one.endswith("silently.") for one in noisy)
    assert any(len(one.split()) < 14 for one in noisy)
    assert any(set(one.split()) - set(text.split()) for one in noisy)


def test_words_are_swapped_with_their_neighbours() -> None:
    text = "0 1 2 3 4 5 6 7 8 9"  # numbers are never misspelt, and those that stay tell their order
    orders = [[int(word) for word in misspelt(text, 0.1, seeds.generator(0, number)).split()] for number in range(60)]
    swapped = [order for order in orders if order != sorted(order)]
    assert 15 < len(swapped) < 50  # of 60 with six or seven chances each
    assert all(order[0] == 0 and order[-1] == 9 and len(set(order)) == len(order) for order in swapped)


def test_one_unlucky_draw_strikes_no_item_off() -> None:
    dataset = planted.training()
    short = Dataset(dataset.items.assign(description="An owl in a tree."), dataset.interactions)
    found = made(Noise("descriptions", words=0.3), 180, short)  # a sixth of the draws changes nothing
    assert len(list(found.samples)) == 180
    assert list(found.rejects) == []


def test_one_unlucky_draw_strikes_no_user_off() -> None:
    dataset = planted.training()
    few = dataset.interactions.groupby("user_id").head(2)
    found = made(Noise("weights", salt=0), 160, Dataset(dataset.items, few))  # a quarter of the draws changes nothing
    assert list(found.rejects) == []


def test_copies_take_turns() -> None:
    scores = np.array([[3, 2, 1, 0], [0, 1, 2, 3]], dtype=np.float32)
    assert in_turn(scores, np.array([False, False, False, True]), 3).tolist() == [0, 2, 1]


@pytest.mark.parametrize("style", ["items", "users"])
def test_user_cold_splits_have_somebody_to_make_pairs_for(style: str) -> None:
    dataset = planted.training()
    warm = dataset.items[dataset.items["item_id"].isin(dataset.interactions["item_id"])]
    assert len(list(made(Noise(style), 30, Dataset(warm, dataset.interactions)).samples)) == 30
