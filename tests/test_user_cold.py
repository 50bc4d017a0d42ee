"""A run that leaves users cold but for their first rows: histories, the controls at their volume, and what they do."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from shop import GENRES, items, write_source

from eval.compare import by_llm
from eval.verdict import left_cold
from llm_aug import generators, pipeline
from llm_aug.config import load_recipe, recipe_of
from llm_aug.data import Sample
from llm_aug.errors import InputError
from llm_aug.files import read_json
from llm_aug.run import run, steps
from llm_aug.sources.samples import read_samples
from llm_aug.splits import read_split

ARMS = ["popular-items", "random-items", "similar-items", "history"]
RECIPE: dict[str, Any] = {
    "data": {"source": "source", "columns": {"item_id": "asin"}},
    "clean": {"min_rating": 2},
    "split": {
        "strategy": "user-random",
        "revealed": 1,
        "reserved": 2,
        "cold_fraction": 0.4,
        "validation_cold_fraction": 0.2,
    },
    "encoder": "hash:64",
    "finetune": None,
    "history": {"users_with_at_most": 1, "events": 4},
    "arms": ARMS,
    "evaluate": {"students": {"popularity": {}, "content": {"tfidf_weight": 0.5}, "ease": {"l2": 10.0}}, "ks": [5, 20]},
}


def script() -> dict[str, Any]:
    """Whoever has something of a genre is said to like the whole genre, and a thing that does not exist."""
    titles = {genre: [row["title"] for row in items() if row["genre"] == genre] for genre in GENRES}
    rules = [
        {"pattern": f"- ({'|'.join(words)}) ", "answer": "\n".join(["A Thing Unheard Of", *titles[genre]])}
        for genre, words in GENRES.items()
    ]
    return {"rules": rules}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("users")
    write_source(folder / "source")
    (folder / "script.json").write_text(json.dumps(script()))
    recipe = {**RECIPE, "model": f"scripted:{folder / 'script.json'}"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    generators.llm_of.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_AUG_CACHE", str(folder / "cache"))
        run(load_recipe(folder / "recipe.yaml"), folder / "run")
        yield folder


def kept(world: Path, arm: str) -> list[Sample]:
    return read_samples(world / "run" / "seed-0" / f"05-kept-{arm}")


def test_histories_are_extended_for_users_with_few_events_alone(world: Path) -> None:
    split = read_split(world / "run" / "seed-0" / "02-split")
    assert {sample.subject for sample in kept(world, "history")} == set(split.cold_users)
    assert set(split.train["user_id"].value_counts().loc[list(split.cold_users)]) == {1}
    metrics = read_json(world / "run" / "seed-0" / "04-samples-history" / "metrics.json")
    assert metrics["ungrounded"] == metrics["answers"] == len(split.cold_users)


def test_every_arm_has_the_same_number_of_items_for_each_user(world: Path) -> None:
    def volume(arm: str) -> Counter[str]:
        return Counter(pair.user_id for sample in kept(world, arm) for pair in sample.interactions or ())

    assert set(volume("history").values()) == {4}
    assert volume("history") == volume("random-items") == volume("popular-items") == volume("similar-items")
    volumes = read_json(world / "run" / "seed-0" / "06-scores" / "arms.json")["arms"]
    assert {row["pairs"] for row in volumes if row["arm"] not in ("real", "a/a")} == {volume("history").total()}


def test_true_histories_gain_for_cold_users_and_random_items_do_not(world: Path) -> None:
    rows = read_json(world / "run" / "comparisons.json")
    found = {
        (row["student"], row["arm"]): row
        for row in rows
        if (row["group"], row["against"]) == ("cold", "real") and row["student"] == row["against_student"]
    }
    assert found["content", "history"]["low"] > 0  # of 8 users: too few to survive a correction for four arms
    assert found["content", "random-items"]["low"] < 0
    assert all(found[student, "a/a"]["word"] == "no gain" for student in ("popularity", "content", "ease"))
    duels = {(row["arm"], row["against"]) for row in rows if row["group"] == "overall"}
    assert {("history", control) for control in ("random-items", "popular-items", "similar-items")} <= duels


def test_the_verdict_and_the_report_speak_of_users(world: Path) -> None:
    verdict = (world / "run" / "verdict.txt").read_text()
    assert "\nWarm users: " in verdict
    assert "history over as many of the most similar items, " in verdict
    told = " ".join(verdict.split("Failed or doubtful:")[1].split())
    assert re.search(r"yet not beyond chance among so many arms: history data: .*?content cold \+", told)
    assert "users with few rows in training" in (world / "run" / "report.html").read_text()
    assert left_cold([world / "run" / "seed-0" / "06-scores"]) == "users"


def test_controls_come_after_the_histories_that_they_equal(world: Path) -> None:
    plan = [step.folder.name for step in steps(load_recipe(world / "recipe.yaml"), Path("run"))]
    assert plan.index("05-kept-history") < plan.index("04-samples-popular-items")


def test_controls_by_themselves_go_by_the_log(world: Path, tmp_path: Path) -> None:
    recipe = recipe_of(history={"users_with_at_most": 1, "events": 3}, encoder="hash:64")
    split = world / "run" / "seed-0" / "02-split"
    wanted = pipeline.Wanted(None, "popular-items")
    pipeline.generate_samples(recipe, wanted, split, None, tmp_path / "popular")
    samples = read_samples(tmp_path / "popular")
    assert {len(sample.interactions or ()) for sample in samples} == {3}
    assert {sample.subject for sample in samples} >= set(read_split(split).cold_users)


def test_invented_users_may_begin_with_a_profile(world: Path, tmp_path: Path) -> None:
    split = world / "run" / "seed-0" / "02-split"
    texts = ["Interests: rockets.", "Interests: moss and owls."]
    frame = {"sample_id": ["p0", "p1"], "kind": "profile", "subject": ["u00", "u02"], "text": texts}
    pd.DataFrame(frame).to_parquet(tmp_path / "profiles.parquet")
    (tmp_path / "echo.json").write_text(
        json.dumps(
            {
                "rules": [
                    {"pattern": "rockets", "answer": items()[0]["title"]},
                    {"pattern": "owls", "answer": items()[2]["title"]},
                ]
            }
        )
    )
    recipe = recipe_of(model=f"scripted:{tmp_path / 'echo.json'}", history={"style": "simulate", "new_users": 2})
    wanted = pipeline.Wanted("history", None, tmp_path / "profiles.parquet")
    pipeline.generate_samples(recipe, wanted, split, None, tmp_path / "out")
    found = {
        sample.subject: [pair.item_id for pair in sample.interactions or ()]
        for sample in read_samples(tmp_path / "out")
    }
    assert found == {"synthetic/0": ["a00"], "synthetic/1": ["a02"]}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (pipeline.Wanted("rewrite", None, Path("x")), "rewrite goes by no other samples: leave out --from x"),
        (pipeline.Wanted(None, "funnel", Path("x")), "funnel goes by no other samples"),
        (pipeline.Wanted(None, "popular-item"), "no generator 'popular-item'; did you mean 'popular-items'"),
    ],
)
def test_what_cannot_be_made_is_refused(world: Path, tmp_path: Path, wanted: pipeline.Wanted, words: str) -> None:
    with pytest.raises(InputError, match=words):
        pipeline.generate_samples(recipe_of(), wanted, world / "run" / "seed-0" / "02-split", None, tmp_path / "out")


def test_arms_of_the_llm_are_known_by_their_parts() -> None:
    assert [by_llm(arm) for arm in ("llm", "llm-8b", "history", "popular-items+rewrite")] == [True] * 4
    assert not any(by_llm(arm) for arm in ("funnel", "popular-items", "historyless"))
