"""A whole run on a tiny shop with a scripted model: what is done stays, what changed is refused, nothing vanishes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from shop import write_recipe, write_script, write_source

from llm_aug import generators, pipeline
from llm_aug.backends.scripted import Scripted
from llm_aug.config import Recipe, load_recipe, recipe_of
from llm_aug.data import read_split
from llm_aug.errors import InputError, LlmAugError, ResumeRefused, ShortOfTarget
from llm_aug.files import read_json, read_parquet, write_json
from llm_aug.run import run, status, steps
from llm_aug.stage import Outcome

ARMS = ["funnel", "llm", "llm+rewrite"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_AUG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def fresh_model() -> None:
    generators._llm.cache_clear()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that reach the scripted model, by method."""
    calls: list[str] = []
    for name in ("complete", "score"):
        method: Callable[..., Any] = getattr(Scripted, name)

        def counted(self: Scripted, *arguments: Any, name: str = name, method: Callable[..., Any] = method) -> Any:
            calls.append(name)
            return method(self, *arguments)

        monkeypatch.setattr(Scripted, name, counted)
    return calls


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: None) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    run(load_recipe(write_recipe(folder)), folder / "run")
    return folder


@pytest.fixture
def shop(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run and its recipe."""
    shutil.copytree(finished, tmp_path / "shop")
    return tmp_path / "shop"


def recipe_in(folder: Path, *overrides: str) -> Recipe:
    return load_recipe(folder / "recipe.yaml", overrides)


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


def test_the_same_recipe_again_asks_nothing(shop: Path, asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run(recipe_in(shop), shop / "run")
    assert asked == []
    told = capsys.readouterr().err
    assert told.count("done, kept") == len(status(shop / "run")) == 9


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("split.cold_fraction=0.3", r"02-split .*split\.cold_fraction was 0\.2, is 0\.3"),
        ("rewrite.temperature=0.1", r"04-samples-rewrite .*sampling\.temperature was 0\.8, is 0\.1"),
        ("clean.min_rating=1", r"01-data .*clean\.min_rating was 2\.0, is 1\.0"),
        ("evaluate.ks=[5, 20]", r"06-scores .*ks"),
    ],
)
def test_another_recipe_is_refused_with_the_change(override: str, words: str, shop: Path) -> None:
    with pytest.raises(ResumeRefused, match=words):
        run(recipe_in(shop, override), shop / "run")
    assert load_recipe(shop / "run" / "config.resolved.yaml").split.cold_fraction == 0.2


def test_what_changes_no_row_is_no_other_recipe(shop: Path, asked: list[str]) -> None:
    run(recipe_in(shop, "interactions.chunk=7", "engine.device=cpu", "failed_share=0.5"), shop / "run")
    assert asked == []


def test_a_changed_model_or_source_is_another_recipe(shop: Path) -> None:
    model = write_script(shop / "script.json", answer="Something else about \\g<title> of \\g<genre>, for a change.")
    with pytest.raises(ResumeRefused, match=r"04-samples-llm .*model was"):
        run(recipe_in(shop, f"model={model}"), shop / "run")
    with (shop / "source" / "interactions.csv").open("a", encoding="utf-8") as handle:
        handle.write('"u00","a05","5","1600000001"\n')
    with pytest.raises(ResumeRefused, match=r"01-data .*files\.interactions\.csv was"):
        run(recipe_in(shop), shop / "run")


def test_a_stage_that_was_not_finished_is_done_again_from_its_answers(shop: Path, asked: list[str]) -> None:
    samples = shop / "run" / "seed-0" / "04-samples-rewrite"
    before = (samples / "samples.parquet").read_bytes()
    (samples / "stage.json").unlink()
    (samples / "samples.parquet").unlink()
    with pytest.raises(ResumeRefused, match=r"is no rewrite of ours"):
        run(recipe_in(shop), shop / "run")
    mark = read_json(samples.parent / "04-samples-llm" / "stage.json")
    unfinished = {**mark, "stage": "rewrite", "state": "running", "fingerprint": ""}
    write_json(samples / "stage.json", unfinished)
    assert [row["state"] for row in status(shop / "run")].count("stopped") == 1
    run(recipe_in(shop), shop / "run")
    assert asked == []
    assert (samples / "samples.parquet").read_bytes() == before


def test_resume_says_what_kind_of_folder_it_asks_for(shop: Path, tmp_path: Path) -> None:
    recipe = recipe_in(shop)
    with pytest.raises(ResumeRefused, match="not empty"):
        run(recipe, shop / "run", "never")
    with pytest.raises(ResumeRefused, match="no run to go on with"):
        run(recipe, tmp_path / "fresh", "always")
    with pytest.raises(ResumeRefused, match="no run of ours"):
        run(recipe, shop / "source")
    with pytest.raises(InputError, match="did you mean 'always'"):
        run(recipe, tmp_path / "fresh", "alway")


def test_an_edited_result_is_noticed_downstream(shop: Path) -> None:
    kept = shop / "run" / "seed-0" / "05-kept-llm" / "kept.parquet"
    shutil.copy(shop / "run" / "seed-0" / "05-kept-funnel" / "kept.parquet", kept)
    with pytest.raises(LlmAugError, match=r"05-kept-llm/kept\.parquet is not the file that was written"):
        run(recipe_in(shop), shop / "run")


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


def test_more_items_are_more_work_and_fewer_calls(finished: Path, tmp_path: Path, asked: list[str]) -> None:
    split = finished / "run" / "seed-0" / "02-split"
    model = write_script(tmp_path / "script.json")
    for limit in (4, 9, 9):
        pipeline.ask(recipe_of(model=model, rewrite={"limit": limit}), "rewrite", split, None, tmp_path / "samples")
        assert read_parquet(tmp_path / "samples" / "samples.parquet").num_rows == limit
    assert asked == ["complete", "complete"]
    assert read_parquet(tmp_path / "samples" / "answers" / "000001.parquet").num_rows == 5


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
    recipe = recipe_of(data=data, model=model, finetune={"tasks": ["rewrite"]})
    pipeline.prepare(recipe, tmp_path / "data")
    pipeline.split(recipe, tmp_path / "data", tmp_path / "split")
    with pytest.raises(InputError, match="task 'rewrite' finds no example"):
        pipeline.finetune(recipe, tmp_path / "split", tmp_path / "adapter")
