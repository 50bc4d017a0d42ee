"""A run asked for again: what is done stays, what changed is refused, what was cut short is done from its answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shop import write_script

from llm_aug import pipeline
from llm_aug.backends.scripted import Scripted
from llm_aug.config import Recipe, load_recipe, recipe_of
from llm_aug.errors import InputError, LlmAugError, ResumeRefused
from llm_aug.files import read_json, read_parquet, write_json
from llm_aug.run import run, status

pytestmark = pytest.mark.usefixtures("fresh_model")


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


@pytest.fixture
def shop(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run and its recipe."""
    shutil.copytree(finished, tmp_path / "shop")
    return tmp_path / "shop"


def recipe_in(folder: Path, *overrides: str) -> Recipe:
    return load_recipe(folder / "recipe.yaml", overrides)


def test_the_same_recipe_again_asks_nothing(shop: Path, asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run(recipe_in(shop), shop / "run")
    assert asked == []
    told = capsys.readouterr().err
    assert told.count("done, kept") == len(status(shop / "run")) == 9


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("split.cold_fraction=0.3", r"02-split .*split\.cold_fraction was 0\.2, is 0\.3"),
        ("rewrite.temperature=0.1", r"04-samples-rewrite .*sampling\.temperature was 0\.3, is 0\.1"),
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


def test_more_items_are_more_work_and_fewer_calls(finished: Path, tmp_path: Path, asked: list[str]) -> None:
    split = finished / "run" / "seed-0" / "02-split"
    model = write_script(tmp_path / "script.json")
    for limit in (4, 9, 9):
        pipeline.ask(recipe_of(model=model, rewrite={"limit": limit}), "rewrite", split, None, tmp_path / "samples")
        assert read_parquet(tmp_path / "samples" / "samples.parquet").num_rows == limit
    assert asked == ["complete", "complete"]
    assert read_parquet(tmp_path / "samples" / "answers" / "000001.parquet").num_rows == 5
