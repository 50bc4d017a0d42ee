"""Whether synthetic pairs and histories are told from real ones by what the items are about."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from llm_aug.data import Dataset, Pair, Sample, tidy_interactions, tidy_items
from llm_aug.filters import tastes
from llm_aug.filters.corpus import corpus
from llm_aug.filters.reference import Reference
from llm_aug.vectors import load_encoder

USERS, ITEMS = 60, 120
WORDS = ("harbour boat sail tide anchor", "garden rose soil spade seed")


def topic(number: int) -> int:
    return number % 2


def reference(words: tuple[str, str] = WORDS) -> Reference:
    """Items of two topics; a user has eight of one. Nobody has the last 40."""
    told = [
        " ".join(np.random.default_rng(number).permutation(words[topic(number)].split())) for number in range(ITEMS)
    ]
    items = pd.DataFrame({"item_id": [f"i{number}" for number in range(ITEMS)], "title": "", "description": told})
    rows = [
        (f"u{user}", f"i{2 * int(place) + topic(user)}", when)
        for user in range(USERS)
        for when, place in enumerate(np.random.default_rng(user).permutation(40)[:8])
    ]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return Reference(Dataset(tidy_items(items), tidy_interactions(log)), load_encoder("hash:16"))


def proposed(other: int) -> list[Sample]:
    """Each user with six items that nobody has, of his own topic or, where `other` is 1, of the other one."""
    pairs = [
        Pair(f"u{user}", f"i{80 + 2 * step + (topic(user) + other) % 2}") for user in range(USERS) for step in range(6)
    ]
    return [Sample(f"s{row:03}", "interactions", pair.user_id, None, (pair,)) for row, pair in enumerate(pairs)]


def told(user: str, numbers: list[int]) -> Sample:
    return Sample(user, "history", user, None, tuple(Pair(user, f"i{number}") for number in numbers))


def test_pairs_for_whom_they_suit_are_not_told_apart_and_the_others_are() -> None:
    alike, apart = (corpus(proposed(other), reference())["interactions"] for other in (0, 1))
    assert alike["compared"] == apart["compared"] == 6 * USERS
    assert alike["auc"] == pytest.approx(0.5, abs=0.12)
    assert apart["auc"] > 0.95


def test_histories_of_one_topic_are_like_the_real_ones_and_those_of_both_are_not() -> None:
    draw = np.random.default_rng(5)
    alike = [told(f"new/{n}", [2 * int(i) + topic(n) for i in draw.permutation(40)[:8]]) for n in range(USERS)]
    mixed = [told(f"new/{n}", [int(i) for i in draw.permutation(80)[:8]]) for n in range(USERS)]
    assert corpus(alike, reference())["history"]["auc"] == pytest.approx(0.5, abs=0.15)
    assert corpus(mixed, reference())["history"]["auc"] > 0.8


def test_a_pair_is_read_by_the_users_other_items_alone() -> None:
    known = reference()
    log = known.training.interactions
    own, item = log["user_id"][0], log["item_id"][0]
    made, real = tastes.of_pairs([(own, item), ("nobody", item), (own, "unknown")], [(own, item)], known)
    assert made[0] == real[0] == [item]
    only = Reference(Dataset(known.training.items, log[:1]), known.encoder)
    assert tastes.of_pairs([(own, item)], [(own, item)], only)[0][0] == []


def test_the_latest_items_tell_what_a_user_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tastes, "LATEST", 1)
    known = reference()
    log = known.training.interactions[::-1]
    last = known.training.interactions.groupby("user_id").tail(1).set_index("user_id")["item_id"]
    turned = Reference(Dataset(known.training.items, log), known.encoder)
    _, (_, rows) = tastes.of_histories([], ["u0", "u1"], turned)
    made = [told(user, [int(last[user][1:])]) for user in ("u0", "u1")]
    (_, expected), _ = tastes.of_histories(made, ["u0", "u1"], turned)
    np.testing.assert_allclose(rows, expected, atol=1e-6)


@pytest.mark.parametrize("words", [("", ""), ("!", "?")])
def test_items_without_words_tell_nothing(words: tuple[str, str]) -> None:
    assert corpus(proposed(0), reference(words))["interactions"]["auc"] is None
