"""Cold items get their first real rows one by one: which, on what they are tested, and when the gain is called gone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from eval.arms import REAL, Arm
from eval.cold_start import EvaluateOptions
from eval.ranking import held_out
from eval.split import SplitOptions, cut
from eval.warm_up import gone_from, main, summarise, sweep, table, warmed
from llm_aug.data import USERS_COLD, Dataset, Pair, Sample, Split, tidy_interactions
from llm_aug.errors import InputError
from llm_aug.files import write_parquet
from llm_aug.splits import write_split

RESERVED = 3


def rows_of(frame: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(frame["user_id"], frame["item_id"], strict=True))


@pytest.fixture(scope="module")
def dated(tastes: Split) -> Dataset:
    log = pd.concat([tastes.train, tastes.validation, tastes.test], ignore_index=True)
    log = log.sort_values(["user_id", "item_id"], ignore_index=True)
    times = np.random.default_rng(0).permutation(len(log))
    return Dataset(tastes.items, tidy_interactions(log.assign(timestamp=times)))


@pytest.fixture(scope="module")
def split(dated: Dataset) -> Split:
    return cut(dated, SplitOptions(reserved=RESERVED, validation_cold_fraction=0.1, seed=1))


def test_each_cold_item_gets_its_first_rows_and_the_same_rows_are_tested(split: Split, dated: Dataset) -> None:
    assert {*split.test["item_id"], *split.validation["item_id"]} > set(split.cold_items)
    for k in range(RESERVED + 1):
        found = warmed(split, k)
        assert (found.hash, found.cold_items) == (split.hash, split.cold_items)
        assert rows_of(found.test) | rows_of(found.validation) == rows_of(split.test) | rows_of(split.validation)
        for item in split.cold_items:
            own = dated.interactions[dated.interactions["item_id"] == item].sort_values("timestamp")
            assert rows_of(found.train[found.train["item_id"] == item]) == rows_of(own.head(k)), item
            assert rows_of(found.withheld[found.withheld["item_id"] == item]) == rows_of(own.iloc[k:RESERVED]), item
    assert not rows_of(warmed(split, 0).train) ^ rows_of(split.train)


def test_without_times_more_rows_hold_the_fewer_in_any_order_of_the_file(split: Split) -> None:
    undated = replace(split, withheld=split.withheld.assign(timestamp=pd.array([pd.NA] * len(split.withheld), "Int64")))
    shown = [rows_of(warmed(undated, k).train) for k in range(RESERVED + 1)]
    assert shown[0] < shown[1] < shown[2] < shown[3]
    backwards = replace(undated, withheld=undated.withheld[::-1])
    assert rows_of(warmed(backwards, 2).train) == shown[2]
    assert rows_of(warmed(replace(undated, seed=2), 2).train) != shown[2]


def test_withheld_rows_are_seen_at_every_k(split: Split) -> None:
    held, places = held_out(split, "test"), {item: at for at, item in enumerate(split.items["item_id"])}
    rows = split.withheld[split.withheld["user_id"].isin(held.users)]
    assert len(rows)
    for user, item in rows_of(rows):
        assert held.seen[[list(held.users).index(user)]][0, places[item]]


def test_cold_users_get_their_first_rows_likewise(dated: Dataset) -> None:
    split = cut(dated, SplitOptions(USERS_COLD, reserved=2, seed=1))
    found = warmed(split, 2)
    counts = found.train["user_id"].value_counts()
    assert {counts[user] for user in split.cold_users} == {2}
    assert found.withheld.empty


def test_more_rows_than_are_withheld_are_refused(split: Split) -> None:
    with pytest.raises(InputError, match=r"k is 4, .* 3 rows of some cold item: cut it with .* --reserved 4"):
        warmed(split, RESERVED + 1)
    with pytest.raises(InputError, match="k is -1"):
        warmed(split, -1)


def truth(split: Split) -> Arm:
    """The very pairs of the cold items."""
    held = pd.concat([split.validation, split.test])
    pairs = rows_of(held[held["item_id"].isin(split.cold_items)])
    return Arm("truth", [Sample(f"{u}/{i}", "interactions", i, interactions=(Pair(u, i),)) for u, i in sorted(pairs)])


def test_a_sweep_compares_each_arm_with_real_data_at_the_same_k(split: Split) -> None:
    options = EvaluateOptions(students={"ease": {"l2": 5.0}})
    rows = summarise(sweep(split, [truth(split)], options, (0, RESERVED)))
    assert len(rows) == 2 * 2 * 3
    cold = {(row["arm"], row["k"]): row for row in rows if row["group"] == "cold"}
    assert cold["truth", 0]["gain_low"] > 0
    assert cold[REAL, RESERVED]["mean"] > cold[REAL, 0]["mean"]
    assert cold["truth", RESERVED]["mean"] > cold[REAL, RESERVED]["mean"]
    assert cold["truth", 3]["gain"] == pytest.approx(cold["truth", 3]["mean"] - cold[REAL, 3]["mean"])
    assert len({row["users"] for row in cold.values()}) == 1
    assert {row["gain"] for row in rows if row["arm"] == REAL} == {None}


def made(*lows: float) -> list[dict[str, Any]]:
    own = {"student": "ease", "group": "cold", "mean": 0.2, "low": 0.1, "high": 0.3, "users": 9}
    real = [{**own, "arm": REAL, "k": k, "gain": None, "gain_low": None, "gain_high": None} for k in range(len(lows))]
    arm = [{**own, "arm": "llm", "k": k, "gain": 0.1, "gain_low": low, "gain_high": 0.2} for k, low in enumerate(lows)]
    return [*real, *arm]


@pytest.mark.parametrize(
    ("lows", "gone", "words"),
    [
        ((0.1, 0.05, -0.1), 2, "k = 2"),
        ((0.1, -0.1, 0.05, -0.1), 3, "k = 3"),
        ((0.1, 0.1), None, "still there at k = 1"),
        ((-0.1, -0.1), 0, "no gain at any"),
    ],
)
def test_a_gain_is_gone_where_no_later_interval_lies_above_zero(lows: Any, gone: int | None, words: str) -> None:
    rows = made(*lows)
    assert gone_from(rows, "ease", "llm", "cold") == gone
    lines = table(rows).splitlines()
    assert lines[2].endswith("|  |")
    assert lines[3].endswith(f"| {words} |")
    assert [cell.strip().endswith("*") for cell in lines[3].split("|")[4:-2]] == [low > 0 for low in lows]


def test_the_command_writes_the_curve(split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_split(tmp_path / "split", split)
    users, item = sorted(set(split.train["user_id"]))[:9], split.cold_items[0]
    write_parquet(tmp_path / "pairs.parquet", pa.table({"user_id": users, "item_id": [item] * 9}))
    command = [str(tmp_path / "split"), "--arm", f"some={tmp_path / 'pairs.parquet'}", "--student", "popularity"]
    assert main([*command, "--ks", "0,2", "--output", str(tmp_path / "scores")]) == 0
    rows = json.loads((tmp_path / "scores/warm_up.json").read_text())
    assert {(row["arm"], row["k"]) for row in rows} == {(arm, k) for arm in (REAL, "some", "a/a") for k in (0, 2)}
    assert {"student", "arm", "k", "group", "mean", "low", "high", "users"} <= set(rows[0])
    assert "| popularity | some | cold |" in capsys.readouterr().out
    assert main([*command, "--ks", "0,9", "--output", str(tmp_path / "scores")]) == 2
    assert main([*command, "--ks", "some", "--output", str(tmp_path / "scores")]) == 2
