"""The benchmarks of classics and of cold users, each run from a recipe to its tables on a tiny shop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from shop import write_source
from test_user_cold import RECIPE as USERS
from test_user_cold import script as titles

from eval.bench import classics, user_cold
from llm_aug import generators
from llm_aug.errors import InputError
from llm_aug.files import write_json

SMALL = {"epochs": 2, "hidden": 8, "batch_size": 20}
COMMON: dict[str, Any] = {
    "data": USERS["data"],
    "encoder": "hash:64",
    "finetune": None,
    "classics": {"vae": SMALL, "gan": {**SMALL, "components": 6}},
    "evaluate": {"students": {"ease": {"l2": 10.0}}, "ks": [20]},
}
ITEMS = {**COMMON, "clean": {"min_rating": 2}, "split": {"cold_fraction": 0.2, "validation_cold_fraction": 0.1}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of two recipes, items.yaml and users.yaml."""
    write_source(tmp_path / "source")
    write_json(tmp_path / "script.json", titles())
    users = {**USERS, **COMMON, "model": f"scripted:{tmp_path / 'script.json'}"}
    for name, recipe in (("items", ITEMS), ("users", users)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    generators.llm_of.cache_clear()
    monkeypatch.setenv("LLM_AUG_CACHE", str(tmp_path / "cache"))
    return tmp_path


def measured(recipe: Path, entries: Sequence[str] = ()) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return classics.bench(recipe, recipe.parent / "runs", ["seeds=[0]"]).rows(entries)


def test_classics_beside_the_funnel(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores, fidelity = measured(place / "items.yaml", ["mix/items", "vae", "noise/descriptions"])
    assert [row["arm"] for row in scores] == ["real", "funnel", "mix-items", "vae", "a/a"]
    assert "noise/descriptions: descriptions: the samples to go by hold no texts" in capsys.readouterr().err
    pairs = {row["arm"]: row["pairs"] for row in fidelity if row["kind"] == "interactions"}
    assert {row["arm"]: row["pairs"] for row in scores} == {"real": None, "a/a": None, **pairs}
    assert {row["arm"] for row in scores if row["equal"]} >= {"real", "a/a", "funnel"}
    assert {row["seeds"] for row in scores} == {1}
    lines = classics.scores_table([{"data": "shop", **row} for row in scores]).splitlines()
    assert lines[2].startswith("| shop | ease | real | 1 |  | 0.")
    assert len([line for line in lines if line.startswith("| shop")]) == 5
    assert "| shop | funnel | interactions |" in classics.fidelity_table([{"data": "shop", **row} for row in fidelity])


def test_networks_extend_histories_where_users_are_cold(place: Path) -> None:
    scores, fidelity = measured(place / "users.yaml")
    arms = [row["arm"] for row in scores]
    assert arms[:2] == ["real", "history"]
    assert {"vae-histories", "gan-histories", "mix-users"} <= set(arms)
    assert not [arm for arm in arms if "items" in arm or "labels" in arm or "interactions" in arm]
    assert {row["kind"] for row in fidelity if row["arm"] in ("vae-histories", "gan-histories")} == {"history"}


def test_a_style_that_is_none_is_refused_before_anything_is_run(place: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'items'"):
        classics.main([place / "items.yaml"], made="mix/item", output=place / "runs", overrides=[], as_json=False)
    assert not (place / "runs").exists()


def test_cold_users_by_the_events_that_are_revealed(place: Path) -> None:
    shown = ["adapter=null", "arms=[popular-items,history]", "history.events=1"]  # as of more, too many come true
    rows = user_cold.sweep(place / "users.yaml", [2, 1], place / "runs", shown)
    assert [(row["revealed"], row["arm"]) for row in rows] == [
        (k, arm) for k in (1, 2) for arm in ("real", "popular-items", "history", "a/a")
    ]
    assert all(row["equal"] and row["seeds"] == 1 for row in rows)
    lines = user_cold.table(rows).splitlines()
    told = {tuple(line.split(" | ")[1:6]) for line in lines if line.startswith("| users")}
    pairs = {row["revealed"]: str(int(row["pairs"])) for row in rows if row["arm"] == "history"}
    assert told == {
        (str(k), "ease", arm, "1", count)
        for k in (1, 2)
        for arm, count in (("real", ""), ("a/a", ""), ("popular-items", pairs[k]), ("history", pairs[k]))
    }
