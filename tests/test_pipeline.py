"""A whole run on a tiny shop with a scripted model: nothing vanishes, and every stage refuses what is not its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from shop import write_script, write_source

from llm_aug import pipeline
from llm_aug.config import Recipe, load_recipe, recipe_of
from llm_aug.errors import InputError, ResumeRefused, ShortOfTarget
from llm_aug.files import read_json, read_parquet, write_json
from llm_aug.run import status, steps
from llm_aug.splits import read_split
from llm_aug.stage import Outcome

ARMS = ["funnel", "llm", "llm+rewrite"]


pytestmark = pytest.mark.usefixtures("fresh_model")


def test_a_run_leaves_a_verdict_a_report_and_a_card(finished: Path) -> None:
    folder = finished / "run"
    assert "A/A, popularity and content: no gain" in (folder / "verdict.txt").read_text()
    assert "<html" in (folder / "report.html").read_text()
    card = (folder / "README.md").read_text()
    assert "161 read = 160 kept + 1 dropped (below_min_rating: 1)" in card
    assert "| content | llm+rewrite |" in card
    rows = {(row["student"], row["arm"]) for row in read_json(folder / "metrics.json")}
    assert rows == {(student, arm) for student in ("popularity", "content") for arm in ["real", *ARMS, "a/a"]}


def test_a_run_is_described_by_its_manifest_and_its_recipe(finished: Path) -> None:
    manifest = read_json(finished / "run" / "manifest.json")
    assert manifest["state"] == "done"
    assert manifest["versions"]["llm-aug"]
    assert set(manifest["stages"]) == {row["folder"] for row in status(finished / "run")}
    resolved = yaml.safe_load((finished / "run" / "config.resolved.yaml").read_text())
    assert resolved["clean"]["min_rating"] == 2
    assert load_recipe(finished / "run" / "config.resolved.yaml").resolved() == manifest["config"]


@pytest.mark.parametrize(
    ("overrides", "folders"),
    [
        (["arms=[random]"], ["02-split", "04-samples-random", "05-kept-random", "06-scores"]),
        (
            ["arms=[llm]", "finetune={tasks: [judge/preference]}"],
            ["02-split", "03-adapter", "04-samples-llm", "05-kept-llm", "06-scores"],
        ),
        (["arms=[llm]", "finetune={}"], ["02-split", "03-adapter", "04-samples-llm", "05-kept-llm", "06-scores"]),
        (["arms=[llm]", "finetune={tasks: [rewrite]}"], ["02-split", "04-samples-llm", "05-kept-llm", "06-scores"]),
        (
            ["arms=[llm]", "adapter=a-{seed}", "finetune=null"],
            ["02-split", "04-samples-llm", "05-kept-llm", "06-scores"],
        ),
    ],
)
def test_each_seed_has_the_stages_that_its_arms_need(overrides: list[str], folders: list[str], finished: Path) -> None:
    plan = steps(load_recipe(finished / "recipe.yaml", ["seeds=[0, 1]", *overrides]), Path("run"))
    expected = ["01-data", *(f"seed-{seed}/{folder}" for seed in (0, 1) for folder in folders)]
    assert [step.folder.relative_to("run").as_posix() for step in plan] == expected


def test_an_adapter_of_before_is_used_by_whatever_asks_a_model(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: dict[str, Path | None] = {}
    for name in ("ask", "interactions"):

        def noted(recipe: Recipe, what: str, split: Path, adapter: Path | None, output: Path) -> Outcome:
            used[f"{output.parent.name}/{what}"] = adapter
            return Outcome("")

        monkeypatch.setattr(pipeline, name, noted)
    recipe = load_recipe(
        finished / "recipe.yaml", ["seeds=[0, 1]", "arms=[llm, funnel, history+rewrite]", "adapter=a-{seed}"]
    )
    for step in steps(recipe, tmp_path):
        if step.folder.name.startswith("04-"):
            step.work(step.folder)
    parts = {"llm": True, "funnel": False, "history": True, "rewrite": True}
    assert used == {
        f"seed-{seed}/{part}": Path(f"a-{seed}") if asks else None for seed in (0, 1) for part, asks in parts.items()
    }


def test_every_row_of_every_stage_is_accounted_for(finished: Path) -> None:
    root = finished / "run" / "seed-0"
    for name in ("funnel", "llm", "rewrite"):
        counts = read_json(root / f"04-samples-{name}" / "stage.json")["counts"]
        assert counts["asked"] == counts["parsed"] + counts["rejected"] + counts["failed"]
        assert read_parquet(root / f"04-samples-{name}" / "samples.parquet").num_rows == counts["parsed"]
        kept = read_json(root / f"05-kept-{name}" / "stage.json")["counts"]
        assert counts["parsed"] == kept["judged"] == kept["kept"] + kept["dropped"]
        assert read_parquet(root / f"05-kept-{name}" / "kept.parquet").num_rows == kept["kept"]
    volumes = {row["arm"]: row for row in read_json(root / "06-scores" / "arms.json")["arms"]}
    assert volumes["funnel"]["pairs"] == volumes["llm"]["pairs"] == volumes["llm+rewrite"]["pairs"] > 0
    assert (volumes["llm"]["texts"], volumes["a/a"]["pairs"]) == (0, volumes["funnel"]["pairs"])
    assert volumes["llm+rewrite"]["texts"] == kept["kept"] > 0


def test_no_cold_item_is_in_what_the_model_saw(finished: Path) -> None:
    split = read_split(finished / "run" / "seed-0" / "02-split")
    pairs = read_parquet(finished / "run" / "seed-0" / "05-kept-llm" / "kept.parquet").to_pylist()
    assert {pair["subject"] for pair in pairs} == set(split.cold_items)
    assert not set(split.cold_items) & set(split.train["item_id"])


def test_failed_requests_stop_a_run_unless_the_recipe_allows_them(finished: Path, tmp_path: Path) -> None:
    split = finished / "run" / "seed-0" / "02-split"
    model = write_script(tmp_path / "script.json", pattern="Title: rocket", answer="offline", finish="error")
    content = read_json(tmp_path / "script.json")
    content["rules"].append({"pattern": "Title: (?P<title>.+)", "answer": "Quite a tale, \\g<title>, told for you."})
    write_json(tmp_path / "script.json", content)
    shared: dict[str, Any] = {"model": model, "encoder": "hash:64"}
    with pytest.raises(ShortOfTarget, match=r"of 30 requests failed: .*failed: offline.*run again"):
        pipeline.ask(recipe_of(failed_share=0, **shared), "rewrite", split, None, tmp_path / "samples")
    assert read_json(tmp_path / "samples" / "stage.json")["state"] == "running"
    assert read_parquet(tmp_path / "samples" / "samples.parquet").num_rows > 0
    allowed = pipeline.ask(recipe_of(failed_share=0.5, **shared), "rewrite", split, None, tmp_path / "samples")
    assert allowed.counts["failed"] > 0


def test_nothing_kept_is_short_of_the_target(finished: Path, tmp_path: Path) -> None:
    root = finished / "run" / "seed-0"
    recipe = recipe_of(["filter.quality.min_words=99"], encoder="hash:64")
    with pytest.raises(ShortOfTarget, match="too_short: 8"):
        pipeline.filter_samples(recipe, root / "04-samples-rewrite", root / "02-split", tmp_path / "kept")
    assert read_parquet(tmp_path / "kept" / "dropped.parquet").num_rows == 8


def test_a_list_leaves_out_what_was_seen_and_holds_synthetic_pairs(finished: Path, tmp_path: Path) -> None:
    root = finished / "run" / "seed-0"
    pipeline.train(root / "02-split", [root / "05-kept-llm"], "ease", {"l2": 1.0}, 0, tmp_path / "model")
    pipeline.recommend(tmp_path / "model", [], 30, tmp_path / "recs.parquet")
    rows = pd.read_parquet(tmp_path / "recs.parquet")
    split = read_split(root / "02-split")
    seen = set(zip(split.train["user_id"], split.train["item_id"], strict=True))
    assert not seen & set(zip(rows["user_id"], rows["item_id"], strict=True))
    assert len(rows) == 30 * split.train["user_id"].nunique() - len(seen)
    for _, own in rows.groupby("user_id"):
        assert own["rank"].tolist() == list(range(1, len(own) + 1))
        assert own["score"].is_monotonic_decreasing
        assert own["item_id"].is_unique
    assert set(rows.loc[rows["rank"] == 1, "item_id"]) & set(split.cold_items)


def test_samples_of_another_split_are_refused(finished: Path, tmp_path: Path) -> None:
    root = finished / "run" / "seed-0"
    pipeline.split(recipe_of(seeds=[5]), finished / "run" / "01-data", tmp_path / "split")
    recipe = recipe_of(encoder="hash:64", evaluate={"students": {"popularity": {}}})
    with pytest.raises(InputError, match="made from split"):
        pipeline.evaluate(recipe, {"llm": [root / "05-kept-llm"]}, tmp_path / "split", tmp_path / "scores")
    with pytest.raises(InputError, match="made from split"):
        pipeline.train(tmp_path / "split", [root / "05-kept-llm"], "popularity", {}, 0, tmp_path / "model")


def test_a_folder_of_other_things_is_never_written_over(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    recipe = recipe_of(data={"source": str(source), "columns": {"item_id": "asin"}})
    with pytest.raises(ResumeRefused, match="is no prepare of ours"):
        pipeline.prepare(recipe, source)
    with pytest.raises(InputError, match="did you mean 'builtin:movielens'"):
        pipeline.prepare(recipe_of(data={"source": "builtin:movielen"}), tmp_path / "data")


@pytest.mark.slow
def test_an_adapter_is_trained_on_the_tasks_and_used(
    finished: Path, tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    split = finished / "run" / "seed-0" / "02-split"
    tuned = {
        "tasks": ["judge", "judge/preference", "rewrite"],
        "max_steps": 2,
        "limit": 12,
        "per_device_train_batch_size": 2,
    }
    recipe = recipe_of(
        model=str(model_folder("llama")),
        encoder="hash:64",
        finetune=tuned,
        engine={"device": "cpu"},
        rewrite={"limit": 2, "max_tokens": 4, "style": "expand"},
    )
    done = pipeline.finetune(recipe, split, tmp_path / "adapter")
    assert done.line.startswith("12 examples = 12 used + 0 too long; 2 steps, validation loss")
    record = read_json(tmp_path / "adapter" / "finetune.json")
    assert record["split_hash"] == read_split(split).hash
    assert pipeline.finetune(recipe, split, tmp_path / "adapter") == done
    found = pipeline.interactions(recipe, "llm", split, tmp_path / "adapter", tmp_path / "pairs")
    assert found.counts["parsed"] > 0
    assert found.counts["adapter_tuned_on"] == "this split"
    assert read_json(tmp_path / "pairs" / "manifest.json")["config"]["adapter"]


def test_without_descriptions_there_is_nothing_to_learn_rewriting_from(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    table = pd.read_csv(source / "items.csv").drop(columns="description")
    table.to_csv(source / "items.csv", index=False)
    data, model = {"source": str(source), "columns": {"item_id": "asin"}}, write_script(tmp_path / "script.json")
    recipe = recipe_of(data=data, model=model, finetune={"tasks": ["rewrite/condense"]})
    pipeline.prepare(recipe, tmp_path / "data")
    pipeline.split(recipe, tmp_path / "data", tmp_path / "split")
    with pytest.raises(InputError, match="task 'rewrite' finds no example"):
        pipeline.finetune(recipe, tmp_path / "split", tmp_path / "adapter")
