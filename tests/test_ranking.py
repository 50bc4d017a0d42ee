from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from eval.metrics import METRICS
from eval.ranking import Group, Held, Pairs, held_out, per_user, per_user_and_lists
from llm_aug.data import Split, tidy_interactions, tidy_items


def log(*pairs: str) -> pd.DataFrame:
    return tidy_interactions(pd.DataFrame([pair.split() for pair in pairs], columns=["user_id", "item_id"]))


@pytest.fixture
def fruit() -> Split:
    """Apple and pear are warm, plum and fig cold (plum in validation, fig in test), nobody has touched the quince."""
    items = tidy_items(pd.DataFrame({"item_id": ["apple", "pear", "plum", "fig", "quince"]}))
    return Split(
        items=items,
        train=log("ann apple", "bob apple", "bob pear", "cid pear"),
        validation=log("ann plum"),
        test=log("ann fig", "ann pear", "bob fig", "dan apple"),
        cold_items=("fig", "plum"),
        cold_users=("dan",),
        hash="abc",
    )


def test_of_a_split_that_leaves_users_cold_the_groups_are_users(fruit: Split) -> None:
    revealed = log("dan apple")
    split = replace(
        fruit,
        strategy="user-random",
        train=pd.concat([fruit.train, revealed]),
        test=log("ann fig", "dan fig", "dan pear"),
    )
    split = replace(split, withheld=log("dan quince"), revealed=1)
    held = held_out(split, "test")
    assert all(group.items.all() for group in held.groups.values())
    assert {name: group.users.tolist() for name, group in held.groups.items()} == {
        "cold": [False, True],
        "warm": [True, False],
        "overall": [True, True],
    }
    assert names(fruit, held.seen[[1]][0]) == ["apple", "quince"]  # what was withheld of dan is no candidate either
    rows = per_user(Fixed(3, 5, 4, 2, 1), held, (1,), seed=0)
    assert dict(zip(zip(rows["group"], rows["user_id"], strict=True), rows["ndcg@1"], strict=True)) == {
        ("cold", "dan"): 1.0,
        ("warm", "ann"): 0.0,
        ("overall", "ann"): 0.0,
        ("overall", "dan"): 1.0,
    }


class Fixed:
    """Every user gets the same scores, in catalogue order."""

    def __init__(self, *row: float) -> None:
        self.row = np.array(row, dtype=np.float32)
        self.asked: list[str] = []

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        self.asked += users
        return np.tile(self.row, (len(users), 1))


def names(split: Split, mask: NDArray[np.bool_]) -> list[str]:
    return list(split.items["item_id"][mask])


def test_what_is_held_out(fruit: Split) -> None:
    held = held_out(fruit, "test")
    assert held.users == ["ann", "bob", "dan"]
    assert [names(fruit, row) for row in held.relevant[:]] == [["pear", "fig"], ["fig"], ["apple"]]
    assert [names(fruit, row) for row in held.seen[:]] == [["apple", "plum"], ["apple", "pear"], []]
    assert all(group.users.all() for group in held.groups.values())
    assert {name: names(fruit, group.items) for name, group in held.groups.items()} == {
        "cold": ["plum", "fig"],
        "warm": ["apple", "pear"],
        "overall": ["apple", "pear", "plum", "fig", "quince"],
    }


def test_validation_sees_the_training_rows_only(fruit: Split) -> None:
    held = held_out(fruit, "validation")
    assert (held.users, names(fruit, held.relevant[:][0]), names(fruit, held.seen[:][0])) == (
        ["ann"],
        ["plum"],
        ["apple"],
    )


def test_a_held_out_row_that_was_seen_before_is_not_relevant(fruit: Split) -> None:
    twice = Split(**{**vars(fruit), "test": log("bob apple", "bob fig")})
    assert names(fruit, held_out(twice, "test").relevant[:][0]) == ["fig"]


def test_per_user_by_hand(fruit: Split) -> None:
    model = Fixed(5, 4, 3, 2, 1)  # apple, pear, plum, fig, quince
    rows = per_user(model, held_out(fruit, "test"), (1, 2), seed=0).set_index(["group", "user_id"])
    assert list(rows.columns) == [*(f"{name}@{k}" for name in METRICS for k in (1, 2)), "auc"]
    # ann has seen apple and plum: her list is pear, fig, quince; fig alone is left of the cold ones, pear of the warm
    assert rows.loc[("overall", "ann"), ["precision@1", "recall@1", "recall@2"]].tolist() == [1, 0.5, 1]
    assert rows.loc[("overall", "ann"), "auc"] == 1
    assert np.isnan(rows.loc[("warm", "ann"), "auc"])  # the pear is her only warm candidate
    assert rows.loc[("cold", "ann"), ["hit@1", "recall@2"]].tolist() == [1, 1]
    assert rows.loc[("warm", "ann"), ["hit@1", "recall@2"]].tolist() == [1, 1]
    # bob has seen apple and pear: his list is plum, fig, quince
    assert rows.loc[("overall", "bob"), ["hit@1", "mrr@2"]].tolist() == [0, 0.5]
    assert rows.loc[("overall", "bob"), "auc"] == 1 / 2
    assert rows.loc[("cold", "bob"), ["hit@1", "mrr@2"]].tolist() == [0, 0.5]
    assert rows.loc[("overall", "dan"), ["hit@1", "ndcg@2"]].tolist() == [1, 1]


def test_users_without_relevant_items_are_left_out_not_zero(fruit: Split) -> None:
    rows = per_user(Fixed(1, 2, 3, 4, 5), held_out(fruit, "test"), (1,), seed=0)
    assert rows.groupby("group")["user_id"].agg(list).to_dict() == {
        "cold": ["ann", "bob"],
        "warm": ["ann", "dan"],
        "overall": ["ann", "bob", "dan"],
    }


def test_k_beyond_the_candidates(fruit: Split) -> None:
    rows = per_user(Fixed(5, 4, 3, 2, 1), held_out(fruit, "test"), (100,), seed=0).set_index(["group", "user_id"])
    assert rows["recall@100"].tolist() == [1.0] * len(rows)
    assert rows.loc[("overall", "ann"), "precision@100"] == 2 / 100


def test_a_missing_rank_is_no_hit_on_the_last_item(fruit: Split) -> None:
    only_quince = Split(**{**vars(fruit), "test": log("ann quince")})  # -1 points at the last item of the catalogue
    model = Fixed(5, 4, 3, 2, np.nan)
    rows = per_user(model, held_out(only_quince, "test"), (5,), seed=0)
    assert rows[["ndcg@5", "recall@5", "hit@5", "mrr@5"]].to_numpy().tolist() == [[0, 0, 0, 0]]


def test_a_group_that_nobody_has_gives_no_rows(fruit: Split) -> None:
    warm = Split(**{**vars(fruit), "test": log("ann pear")})
    assert set(per_user(Fixed(1, 1, 1, 1, 1), held_out(warm, "test"), (1,), seed=0)["group"]) == {"warm", "overall"}
    nothing = Split(**{**vars(fruit), "test": log("ann pear")[:0]})
    assert list(per_user(Fixed(1), held_out(nothing, "test"), (1,), seed=0).columns[:3]) == [
        "group",
        "user_id",
        "ndcg@1",
    ]


@pytest.mark.parametrize("levels", [10**6, 4])
def test_users_in_chunks_are_the_users_at_once(levels: int, tastes: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    held, row = held_out(tastes, "test"), np.random.default_rng(0).integers(0, levels, 60)
    whole = per_user(Fixed(*row), held, (5, 20), seed=0)
    monkeypatch.setattr("eval.ranking.USERS_AT_ONCE", 7)
    chunked = Fixed(*row)
    chunks = per_user(chunked, held, (5, 20), seed=0)
    keys = ["group", "user_id"]
    pd.testing.assert_frame_equal(
        whole.sort_values(keys, ignore_index=True), chunks.sort_values(keys, ignore_index=True)
    )
    assert chunked.asked == held.users


def test_the_lists_of_a_group_hold_its_items_alone(tastes: Split) -> None:
    held = held_out(tastes, "test")
    lists = per_user_and_lists(Fixed(*range(60)), held, (5, 60), seed=0)[1]
    for group, found in lists.items():
        unseen = held.groups[group].items & ~held.seen[found.users]
        for row, allowed in zip(found.items, unseen, strict=True):
            assert row[row >= 0].tolist() == np.flatnonzero(allowed)[::-1].tolist()


def test_order_of_ties_follows_the_seed(tastes: Split) -> None:
    held, constant = held_out(tastes, "test"), Fixed(*[1] * 60)
    one, again, other = (per_user(constant, held, (5,), seed)["ndcg@5"] for seed in (1, 1, 2))
    assert one.equals(again)
    assert not one.equals(other)


def test_a_constant_scorer_does_not_profit_from_catalogue_order(tastes: Split) -> None:
    """With the most popular items first or last in the catalogue, ties give the same figure: chance."""
    popular = pd.concat([tastes.train, tastes.test])["item_id"].value_counts()
    order = np.argsort(-tastes.items["item_id"].map(popular).to_numpy())
    figures = []
    for positions in (order, order[::-1]):
        shuffled = Split(**{**vars(tastes), "items": tastes.items.iloc[positions].reset_index(drop=True)})
        held = held_out(shuffled, "test")
        rows = pd.concat([per_user(Fixed(*[1] * 60), held, (5,), seed) for seed in range(20)])
        figures.append(rows.loc[rows["group"] == "overall", "recall@5"].mean())
    expected = 5 / 55  # of the 60 items a user has seen about five
    assert figures == [pytest.approx(expected, abs=0.012)] * 2


class Noise(Fixed):
    """Every user has scores of his own, full of ties."""

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        rows = [np.random.default_rng(int(user[1:])).integers(0, 12, len(self.row)) for user in users]
        return np.array(rows, dtype=np.float32)


def some_without_relevant(users: int = 600, items: int = 40) -> Held:
    """Every third user has nothing to find."""
    random = np.random.default_rng(0)
    relevant = random.random((users, items)) < 0.1
    relevant[::3] = False
    seen = (random.random((users, items)) < 0.1) & ~relevant
    group = Group(np.ones(users, dtype=bool), np.ones(items, dtype=bool))
    return Held([f"u{n}" for n in range(users)], *(Pairs(csr_matrix(m)) for m in (relevant, seen)), {"overall": group})


def test_the_lists_are_those_that_were_measured() -> None:
    held = some_without_relevant()
    rows, lists = per_user_and_lists(Noise(*[0] * 40), held, (5, 20), seed=0, groups=("overall",))
    found = lists["overall"]
    assert [held.users[n] for n in found.users] == rows["user_id"].tolist()
    assert found.items.shape == (len(rows), 20)
    hits = np.take_along_axis(held.relevant[found.users], found.items, axis=1) & (found.items >= 0)
    wanted = held.relevant[found.users].sum(axis=1)
    np.testing.assert_allclose(hits.sum(axis=1) / wanted, rows["recall@20"])
    assert not (np.take_along_axis(held.seen[found.users], found.items, axis=1) & (found.items >= 0)).any()


def test_a_group_that_nobody_has_gives_no_lists(fruit: Split) -> None:
    warm = Split(**{**vars(fruit), "test": log("ann pear")})
    assert set(per_user_and_lists(Fixed(1, 1, 1, 1, 1), held_out(warm, "test"), (1,), seed=0)[1]) == {
        "warm",
        "overall",
    }


@pytest.mark.slow  # ranx compiles for half a minute
@pytest.mark.filterwarnings("ignore")
def test_per_user_rows_against_ranx_where_some_have_nothing_to_find() -> None:
    from ranx import Qrels, Run, evaluate

    held = some_without_relevant()
    rows, lists = per_user_and_lists(Noise(*[0] * 40), held, (5, 20), seed=0, groups=("overall",))
    truth = {
        user: {f"i{item}": 1 for item in np.flatnonzero(row)}
        for user, row in zip(held.users, held.relevant[:], strict=True)
        if row.any()
    }
    listed = zip(lists["overall"].users, lists["overall"].items, strict=True)
    run = {held.users[n]: {f"i{item}": float(-at) for at, item in enumerate(row) if item >= 0} for n, row in listed}
    names = {"hit": "hit_rate", **{name: name for name in ("ndcg", "recall", "precision", "mrr")}}
    for ours, theirs in names.items():
        for k in (5, 20):
            expected = evaluate(Qrels(truth), Run(run), f"{theirs}@{k}")
            assert rows[f"{ours}@{k}"].mean() == pytest.approx(expected, abs=1e-9), ours
