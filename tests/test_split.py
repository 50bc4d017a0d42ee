from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.split import STRATEGIES, SplitOptions, cut
from llm_aug.data import USERS_COLD, Dataset, Split, tidy_interactions, tidy_items
from llm_aug.errors import InputError
from llm_aug.splits import read_split, split_hash, write_split


def dataset(pairs: list[tuple[str, str]], times: list[int] | None = None, extra_items: tuple[str, ...] = ()) -> Dataset:
    items = sorted({item for _, item in pairs} | set(extra_items))
    log = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    log["timestamp"] = range(len(pairs)) if times is None else times
    return Dataset(tidy_items(pd.DataFrame({"item_id": items, "title": items})), tidy_interactions(log))


def grid(users: int = 20, items: int = 20) -> Dataset:
    """Every user with every item; item i1 first appears at time 100, i2 at 200, ..."""
    pairs = [(f"u{user:02d}", f"i{item:02d}") for item in range(1, items + 1) for user in range(users)]
    return dataset(pairs, [100 * int(item[1:]) + int(user[1:]) for user, item in pairs], extra_items=("never",))


def rows(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(frame["user_id"], frame["item_id"], strict=True))


def parts_of(split: Split, column: str, subject: str) -> list[str]:
    return [n for n in ("train", "validation", "test") if subject in set(getattr(split, n)[column])]


def check(source: Dataset, split: Split, column: str) -> None:
    together = rows(split.train) + rows(split.validation) + rows(split.test)
    assert sorted(together) == sorted(rows(source.interactions))
    for name in ("item_id", "user_id"):
        trained = set(split.train[name])
        cold = split.cold_items if name == "item_id" else split.cold_users
        assert sorted(set(source.interactions[name]) - trained) == list(cold)
    for subject in split.cold_items if column == "item_id" else split.cold_users:
        assert len(parts_of(split, column, subject)) == 1
    assert split.hash == split_hash(split.items, (split.train, split.validation, split.test))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_shares_are_as_asked(strategy: str) -> None:
    source = grid()
    split = cut(source, SplitOptions(strategy))
    column = "user_id" if strategy == "user-random" else "item_id"
    check(source, split, column)
    cold = split.cold_users if column == "user_id" else split.cold_items
    test_cold = [subject for subject in cold if parts_of(split, column, subject) == ["test"]]
    assert (len(cold), len(test_cold)) == (5, 4)  # 20 % and 5 % of 20; the item without a pair is none of them
    warm = 15 * 20
    assert len(split.test) == 4 * 20 + round(0.1 * warm)
    assert len(split.validation) == 1 * 20 + round(0.025 * warm)
    assert (split.strategy, split.seed) == (strategy, 0)
    assert "never" in set(split.items["item_id"])


def test_temporal_split_holds_out_the_newest_items_and_the_latest_pairs() -> None:
    source = grid()
    split = cut(source, SplitOptions("item-temporal"))
    assert split.cold_items == ("i16", "i17", "i18", "i19", "i20")
    assert parts_of(split, "item_id", "i16") == ["validation"]
    warm_test = split.test[~split.test["item_id"].isin(split.cold_items)]
    warm_validation = split.validation[~split.validation["item_id"].isin(split.cold_items)]
    assert warm_test["timestamp"].min() > warm_validation["timestamp"].max()
    later = split.train[split.train["timestamp"] > warm_validation["timestamp"].min()]
    assert rows(later) == [("u00", "i15")]  # the last training row of i15 stays


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_same_seed_same_split_whatever_the_order_of_the_rows(strategy: str) -> None:
    source = grid()
    shuffled = Dataset(source.items.sample(frac=1, random_state=1), source.interactions.sample(frac=1, random_state=2))
    one, two = (cut(data, SplitOptions(strategy, seed=3)) for data in (source, shuffled))
    assert one.hash == two.hash
    for name in ("items", "train", "validation", "test"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize("strategy", ["item-random", "user-random"])
def test_another_seed_is_another_split(strategy: str) -> None:
    assert cut(grid(), SplitOptions(strategy, seed=1)).hash != cut(grid(), SplitOptions(strategy, seed=2)).hash


def test_last_training_row_of_an_item_and_of_a_user_is_never_held_out() -> None:
    """One busy user has every item; ten users have one item each."""
    pairs = [("busy", f"i{n}") for n in range(10)] + [(f"u{n}", "i0") for n in range(10)]
    source = dataset(pairs)
    for seed in range(20):
        options = SplitOptions(cold_fraction=0, validation_cold_fraction=0, warm_fraction=0.5, seed=seed)
        split = cut(source, options)
        assert (split.cold_items, split.cold_users) == ((), ())
        assert rows(split.test) + rows(split.validation) == [("busy", "i0")]


def test_user_of_cold_items_only_is_a_cold_user_of_an_item_split() -> None:
    pairs = [(f"u{n}", f"i{m}") for n in range(4) for m in range(9)] + [("late", "i9")]
    source = dataset(pairs)
    split = cut(source, SplitOptions("item-temporal", cold_fraction=0.1, validation_cold_fraction=0))
    assert split.cold_items == ("i9",)
    assert split.cold_users == ("late",)
    check(source, split, "item_id")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_split_survives_the_folder(tmp_path: Path, strategy: str) -> None:
    split = cut(grid(), SplitOptions(strategy, seed=5))
    write_split(tmp_path, split)
    again = read_split(tmp_path)
    for name in ("hash", "cold_items", "cold_users", "strategy", "seed"):
        assert getattr(again, name) == getattr(split, name)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"strategy": "item-tempral"}, "did you mean 'item-temporal'"),
        ({"cold_fraction": 1.0}, "cold_fraction is 1.0"),
        ({"warm_fraction": -0.1}, "warm_fraction is -0.1"),
        ({"cold_fraction": float("nan")}, "cold_fraction is nan"),
        ({"cold_fraction": 0.8, "validation_cold_fraction": 0.2}, "sum to 1; leave some to train"),
        ({"cold_fraction": 0, "warm_fraction": 0}, "nothing is left to test on"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        SplitOptions(**options)


def changed(source: Dataset, **columns: Any) -> Dataset:
    return Dataset(source.items, source.interactions.assign(**columns))


ONE_EACH = dataset([(f"u{n}", f"i{n}") for n in range(6)])
NO_TIME = changed(grid(), timestamp=pd.array([pd.NA] * 400, dtype="Int64"))
TWICE = Dataset(grid().items, pd.concat([grid().interactions] * 2))


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        (dataset([("u1", "i1")]), {}, "1 item.* with interactions; a item-random split needs 5"),
        (grid(users=1), {}, "1 user.* with interactions; a item-random split needs 2"),
        (grid(users=4), {"strategy": "user-random"}, "4 user.*; a user-random split needs 5"),
        (dataset([]), {}, "0 item"),
        (NO_TIME, {"strategy": "item-temporal"}, "400 of 400 interactions have no timestamp"),
        (TWICE, {}, "400 pairs occur twice"),
        (changed(grid(), is_synthetic=True), {}, "hold synthetic rows"),
        (Dataset(grid().items.iloc[1:], grid().interactions), {}, "1 items have interactions but no row in items"),
        (Dataset(pd.concat([grid().items] * 2), grid().interactions), {}, "names an item twice"),
        (grid(items=5), {"cold_fraction": 0.7, "validation_cold_fraction": 0.25}, "too few to leave warm ones"),
        (ONE_EACH, {"cold_fraction": 0}, "no pair could be held out"),
    ],
)
def test_data_that_cannot_be_split_is_refused(source: Dataset, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        cut(source, SplitOptions(**options))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.sets(st.tuples(st.integers(0, 12), st.integers(0, 15)), min_size=25, max_size=120),
    st.sampled_from(STRATEGIES),
    st.integers(0, 3),
    st.tuples(*[st.sampled_from([0.0, 0.05, 0.2, 0.4])] * 2),
    st.tuples(*[st.sampled_from([0.05, 0.1, 0.4])] * 2),
)
def test_any_split_is_a_partition_without_leaks(
    pairs: set[tuple[int, int]],
    strategy: str,
    seed: int,
    cold: tuple[float, float],
    warm: tuple[float, float],
) -> None:
    times = np.random.default_rng(seed).integers(0, 9, len(pairs)).tolist()
    source = dataset([(f"u{user}", f"i{item}") for user, item in sorted(pairs)], times)
    try:
        split = cut(source, SplitOptions(strategy, *cold, *warm, seed=seed))
    except InputError as error:
        assert any(reason in str(error) for reason in ("needs", "no pair could be held out"))  # noqa: PT017
        return
    check(source, split, "user_id" if strategy == "user-random" else "item_id")


def uneven() -> Dataset:
    """User u01 has one item, u02 two, ... u20 has 20, one after the other."""
    pairs = [(f"u{user:02d}", f"i{item:02d}") for user in range(1, 21) for item in range(1, user + 1)]
    return dataset(pairs, [1000 - 7 * int(item[1:]) for _, item in pairs])


def test_the_first_rows_of_cold_users_are_revealed_and_the_same_rows_tested() -> None:
    source = uneven()
    options = SplitOptions(USERS_COLD, reserved=4, warm_fraction=0)
    splits = {k: cut(source, replace(options, revealed=k)) for k in (0, 2, 4)}
    for k, split in splits.items():
        together = [row for part in split.parts.values() for row in rows(part)]
        assert sorted(together) == sorted(rows(source.interactions))
        assert split.revealed == k
        assert len(split.cold_users) == 4  # 20 % and 5 % of the 16 users with more than four rows
        for user in split.cold_users:
            times = {name: part.loc[part["user_id"] == user, "timestamp"] for name, part in split.parts.items()}
            assert len(times["train"]) == k
            assert len(times.get("withheld", ())) == 4 - k
            tested = [*times["test"], *times["validation"]]
            assert len(tested) == len(source.interactions[source.interactions["user_id"] == user]) - 4
            earlier = [*times["train"], *times.get("withheld", ())]
            assert max(earlier, default=0) < min(tested)
            assert max(times["train"], default=0) <= min(times.get("withheld", ()), default=10**6)
    assert rows(splits[0].test) == rows(splits[2].test) == rows(splits[4].test)
    assert len({split.hash for split in splits.values()}) == 3


def transposed() -> Dataset:
    """`uneven` with users and items changed over: item i01 has one user, i20 has 20."""
    log = uneven().interactions
    pairs = [(f"u{item[1:]}", f"i{user[1:]}") for user, item in zip(log["user_id"], log["item_id"], strict=True)]
    return dataset(pairs, log["timestamp"].tolist())


@pytest.mark.parametrize("strategy", ["item-random", "item-temporal"])
def test_the_first_rows_of_cold_items_are_withheld_and_items_without_more_are_not_cold(strategy: str) -> None:
    source = transposed()
    split = cut(source, SplitOptions(strategy, reserved=4, warm_fraction=0))
    together = [row for part in split.parts.values() for row in rows(part)]
    assert sorted(together) == sorted(rows(source.interactions))
    assert len(split.cold_items) == 4  # 20 % and 5 % of the 16 items with more than four rows
    assert set(split.withheld["item_id"]) == set(split.cold_items)
    for item in split.cold_items:
        times = {name: part.loc[part["item_id"] == item, "timestamp"] for name, part in split.parts.items()}
        tested = [*times["test"], *times["validation"]]
        assert (len(times["train"]), len(times["withheld"])) == (0, 4)
        assert max(times["withheld"]) < min(tested)


def test_too_few_items_with_reserved_rows_are_told_as_such() -> None:
    with pytest.raises(InputError, match=r"1 item_ids with more than 19 rows are too few"):
        cut(transposed(), SplitOptions(reserved=19))


def test_a_withheld_pair_that_is_in_another_part_is_refused(tmp_path: Path) -> None:
    split = cut(transposed(), SplitOptions(reserved=4))
    again = pd.concat([split.test, split.withheld.head(1)], ignore_index=True)
    parts = (split.train, split.validation, again, split.withheld)
    write_split(tmp_path, replace(split, test=again, hash=split_hash(split.items, parts)))
    with pytest.raises(InputError, match="1 withheld pairs are in another part too"):
        read_split(tmp_path)


def test_a_user_without_a_row_to_test_is_not_cold() -> None:
    split = cut(uneven(), SplitOptions(USERS_COLD, cold_fraction=0.5, revealed=9, warm_fraction=0))
    assert all(int(user[1:]) > 9 for user in split.cold_users)


def test_a_split_with_withheld_rows_is_read_back_and_more_training_rows_are_refused(tmp_path: Path) -> None:
    split = cut(uneven(), SplitOptions(USERS_COLD, revealed=2, reserved=4))
    write_split(tmp_path, split)
    read = read_split(tmp_path)
    assert (read.hash, read.cold_users, read.revealed) == (split.hash, split.cold_users, 2)
    pd.testing.assert_frame_equal(read.withheld, split.withheld)
    user, more = split.cold_users[0], dict(split.parts)
    leak = split.test[split.test["user_id"] == user].head(1)
    more["train"] = pd.concat([split.train, leak], ignore_index=True)
    write_split(tmp_path, replace(split, train=more["train"], hash=split_hash(split.items, more.values())))
    with pytest.raises(InputError, match=rf"1 cold users have more than 2 training rows, for example '{user}'"):
        read_split(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"revealed": 3, "reserved": 2}, "at most reserved"),
        ({"revealed": -1}, "0 at least"),
        ({"strategy": "item-random", "revealed": 1}, "leaves items cold; reserve rows instead"),
    ],
)
def test_what_cannot_be_revealed_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        SplitOptions(**{"strategy": USERS_COLD, **options})
