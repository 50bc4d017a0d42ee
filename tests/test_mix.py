from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import planted
import pytest
from scipy.sparse import csr_matrix

from llm_aug import seeds
from llm_aug.classics import Context, Made
from llm_aug.classics.log import canonical
from llm_aug.classics.mix import Mix, borrowed, combined
from llm_aug.data import Dataset, item_texts
from llm_aug.errors import InputError
from llm_aug.vectors import load_encoder

GENRE = dict(zip(planted.catalogue()["item_id"], planted.catalogue()["genre"], strict=True))
ROWS = csr_matrix(np.array([[1, 1, 0, 0], [0, 1, 1, 0]], dtype=np.float32))
SIMILAR = np.array([0.9, 0.1], dtype=np.float32)


def made(mix: Mix, volume: int = 60, dataset: Dataset | None = None, users: dict[str, int] | None = None) -> Made:
    tidy = canonical(dataset or planted.training())
    vectors = load_encoder("hash:256").encode(item_texts(tidy))
    return mix.make(tidy, Context(volume, 0, Path("unused"), lambda: vectors, users or {}))


@pytest.mark.parametrize("style", ["items", "labels"])
def test_cold_items_come_first_and_get_users_who_like_their_genre(style: str) -> None:
    found = list(made(Mix(style)).samples)
    assert Counter(sample.subject for sample in found) == dict.fromkeys(planted.COLD, 5)
    pairs = [pair for sample in found for pair in sample.interactions or ()]
    assert np.mean([GENRE[pair.item_id] in planted.likes(int(pair.user_id[1:])) for pair in pairs]) > 0.9


def test_a_larger_volume_goes_on_to_rare_items() -> None:
    counts = planted.training().interactions["item_id"].value_counts()
    extra = Counter(sample.subject for sample in made(Mix(), 300).samples)
    rare, popular = counts.index[counts <= counts.quantile(0.2)], counts.index[counts >= counts.quantile(0.8)]
    assert min(extra[item] for item in planted.COLD) > np.mean([extra[item] for item in rare])
    assert sum(extra[item] for item in rare) > sum(extra[item] for item in popular)


def test_a_combination_is_convex_and_favours_the_nearer_neighbours_users() -> None:
    values = [combined(ROWS, SIMILAR, seeds.generator(0, number)) for number in range(50)]
    assert np.allclose([value[1] for value in values], 1)
    assert all(value[3] == 0 and np.isclose(value[0] + value[2], 1) for value in values)
    assert np.mean([value[0] for value in values]) > 0.7


def test_labels_are_one_neighbours_before_the_nexts() -> None:
    firsts = []
    for number in range(50):
        value = borrowed(ROWS, SIMILAR, seeds.generator(0, number))
        order = np.argsort(-value)
        firsts.append(set(order[:2].tolist()))
        assert value[3] == 0
        assert value[order[2]] > 0
    assert {frozenset(one) for one in firsts} == {frozenset({0, 1}), frozenset({1, 2})}
    assert firsts.count({0, 1}) > 35


def test_more_neighbours_are_asked_where_the_nearest_have_too_few_users() -> None:
    found = Counter(sample.subject for sample in made(Mix(neighbours=1), 12 * 40).samples)
    assert min(found[item] for item in planted.COLD) >= 13  # one neighbour has ten users or so


def test_a_user_gets_events_of_those_nearest_to_him_as_they_had_them() -> None:
    log = planted.training().interactions
    own = log.groupby("user_id")["item_id"].agg(set)
    rows = set(zip(log["user_id"], log["item_id"], log["timestamp"], strict=True))
    found = list(made(Mix("users"), 300).samples)
    assert sum(len(sample.interactions or ()) for sample in found) == 300
    for sample in found:
        user, *others = sample.origin.parents
        pairs = sample.interactions or ()
        assert sample.subject == user
        assert {pair.item_id for pair in pairs} <= set.union(*(own[other] for other in others)) - own[user]
        assert all(any((other, pair.item_id, pair.timestamp) in rows for other in others) for pair in pairs)
        assert len({pair.item_id for pair in pairs}) == len(pairs)
        assert 0 < sample.weight <= 1
    pairs = [pair for sample in found for pair in sample.interactions or ()]
    likes = [GENRE[pair.item_id] in planted.likes(int(pair.user_id[1:])) for pair in pairs]
    assert np.mean(likes) > 0.6  # by chance .42


def test_users_with_the_fewest_items_come_first() -> None:
    log = planted.training().interactions
    some = set(log["user_id"].value_counts().index[:11])  # more than a quarter: the first of the four bins
    few = log[~log["user_id"].isin(some) | (log.groupby("user_id").cumcount() < 2)]
    found = made(Mix("users"), 40, Dataset(planted.training().items, few))
    assert {sample.subject for sample in found.samples} == some


def test_users_that_are_told_of_get_their_own_number() -> None:
    told = {"u03": 5, "u04": 2, "new": 1, "u05": 99}
    found = made(Mix("users"), sum(told.values()), users=told)
    room = 48 - int((planted.training().interactions["user_id"] == "u05").sum())
    lengths = {one.subject: len(one.interactions or ()) for one in found.samples}
    assert lengths == {"u03": 5, "u04": 2, "u05": room}
    assert [(one.subject, one.reason, one.answer) for one in found.rejects] == [
        ("new", "no_history", ""),
        ("", "full", f"{100 - room} of 107 pairs"),
    ]


def test_alpha_says_how_evenly_histories_are_shared() -> None:
    def parents(alpha: float) -> float:
        return float(np.mean([len(one.origin.parents) for one in made(Mix("users", alpha=alpha), 200).samples]))

    assert parents(0.05) < parents(50.0)  # all or nothing of each neighbour, against a half of each


def test_one_user_cannot_be_mixed() -> None:
    dataset = planted.training()
    alone = dataset.interactions[dataset.interactions["user_id"] == "u00"]
    with pytest.raises(InputError, match="one user"):
        made(Mix("users"), dataset=Dataset(dataset.items, alone))
