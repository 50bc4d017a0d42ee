"""`llm-aug optimize` on a tiny shop: first the recipe as given, nothing done twice, no test row read, a best.yaml."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from shop import write_recipe
from typer.testing import CliRunner

from llm_aug import generators, optimize
from llm_aug.cli import app
from llm_aug.config import load_recipe, recipe_of
from llm_aug.errors import InputError, ResumeRefused, ShortOfTarget
from llm_aug.files import read_json
from llm_aug.optimize import ARMS, TRIALS, WEIGHTS, Search, search_space
from llm_aug.run import steps

TRIED = 3


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_AUG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def search_in(folder: Path, *overrides: str, student: str = "ease") -> Search:
    return Search(folder / "recipe.yaml", overrides, student, 0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: None) -> Path:
    """recipe.yaml and what five trials of it left; table.txt is what was shown."""
    generators.llm_of.cache_clear()
    folder = tmp_path_factory.mktemp("shop")
    write_recipe(folder)
    (folder / "table.txt").write_text(optimize.optimize(search_in(folder), TRIED, folder / "best"))
    return folder


@pytest.fixture
def best(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished search."""
    shutil.copytree(finished / "best", tmp_path / "best")
    return tmp_path / "best"


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the trials that are run."""
    numbers: list[int] = []
    trial: Callable[..., Any] = optimize._trial

    def counted(number: int, *rest: Any) -> Any:
        numbers.append(number)
        return trial(number, *rest)

    monkeypatch.setattr(optimize, "_trial", counted)
    return numbers


def test_the_first_trial_is_the_recipe_as_given_and_the_best_is_no_worse(finished: Path) -> None:
    trials = read_json(finished / "best" / TRIALS)["trials"]
    assert [trial["number"] for trial in trials] == list(range(TRIED))
    given = {"funnel.per_item": None, "funnel.per_user": 3, "filter.pairs.floor": None, "filter.pairs.per_item": None}
    assert {name: trials[0]["options"][name] for name in given} == given
    assert trials[0]["options"][ARMS] == ["funnel", "llm", "llm+rewrite"]
    assert len({json.dumps(trial["options"], sort_keys=True) for trial in trials}) == TRIED
    assert all(0 < trial["validation"] <= 1 for trial in trials if not trial["failed"])
    table = (finished / "table.txt").read_text()
    assert "as given (" in table
    assert f"best of {TRIED}" in table
    assert "optimistic" in table


def test_the_best_recipe_is_one_that_run_takes_with_its_arm_first(finished: Path) -> None:
    trials = read_json(finished / "best" / TRIALS)["trials"]
    best = max((trial for trial in trials if not trial["failed"]), key=lambda trial: trial["validation"])
    recipe = load_recipe(finished / "best" / "best.yaml")
    assert (recipe.arms[0], set(recipe.arms) >= {"funnel", "llm", "llm+rewrite"}) == (best["arm"], True)
    assert list(recipe.evaluate.synthetic_weights) == best["options"][WEIGHTS]
    assert recipe.funnel.per_user == best["options"]["funnel.per_user"]
    first = next(steps(recipe, finished / "best" / "trials" / "000"))
    assert first.work(first.folder).counts["items"]["kept"] == 30  # the data are those of the recipe as given


def test_what_earlier_trials_made_is_linked_not_made_again(finished: Path) -> None:
    first = finished / "best" / "trials" / "000"
    for number in range(1, TRIED):
        for place in ("01-data/items.parquet", "seed-0/02-split/train.parquet"):
            assert (first.parent / f"{number:03}" / place).samefile(first / place)
    descriptions = list(first.parent.glob("*/seed-0/04-samples-rewrite/samples.parquet"))
    assert len({path.stat().st_ino for path in descriptions}) == 1


def test_a_search_that_was_killed_goes_on_and_ends_the_same(finished: Path, best: Path, tried: list[int]) -> None:
    whole = read_json(best / TRIALS)
    (best / TRIALS).write_text(json.dumps({**whole, "trials": whole["trials"][:1]}))
    shutil.rmtree(best / "trials" / "002")
    for _ in range(2):
        optimize.optimize(search_in(finished), TRIED, best)
        assert tried == [1, 2]
    assert untimed(read_json(best / TRIALS)) == untimed(whole)


def untimed(state: Any) -> Any:
    return [{**trial, "seconds": 0} for trial in state["trials"]], state["real"]


def test_no_test_row_is_read(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the test rows say, the trials are the same."""
    read = optimize.read_split

    def other(folder: Path) -> Any:
        split = read(folder)
        split.test["user_id"] = split.test["user_id"].to_numpy()[::-1]
        split.test["item_id"] = pd.Series(["a00"] * len(split.test), index=split.test.index, dtype="str")
        return split

    monkeypatch.setattr(optimize, "read_split", other)
    optimize.optimize(search_in(finished), 1, tmp_path / "other")
    whole, other_test = (read_json(folder / TRIALS) for folder in (finished / "best", tmp_path / "other"))
    assert untimed({**whole, "trials": whole["trials"][:1]}) == untimed(other_test)


def test_a_trial_of_which_nothing_is_kept_has_failed_and_the_search_goes_on(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = optimize._do

    def short(step: Any, root: Path, earlier: Any) -> None:
        if step.stage == "filter" and root.name == "001":
            raise ShortOfTarget("nothing was kept")
        work(step, root, earlier)

    monkeypatch.setattr(optimize, "_do", short)
    table = optimize.optimize(search_in(finished, "arms=[funnel]"), 2, tmp_path / "other")
    trials = read_json(tmp_path / "other" / TRIALS)["trials"]
    assert [trial["failed"] for trial in trials] == [None, "nothing was kept"]
    assert "failed: 1 of 2" in table


def test_a_search_of_another_recipe_or_student_is_refused(finished: Path) -> None:
    for other in (search_in(finished, "funnel.per_user=4"), search_in(finished, student="ials")):
        with pytest.raises(ResumeRefused, match="another recipe, student or seed"):
            optimize.optimize(other, TRIED, finished / "best")
    with pytest.raises(InputError, match="did you mean 'ease'"):
        optimize.optimize(search_in(finished, student="eese"), TRIED, finished / "other")


def test_arms_are_the_recipes_own_parts_and_mixes_of_two() -> None:
    space, default = search_space(recipe_of(arms=["random", "funnel", "llm+rewrite"]))
    assert default[ARMS] == ["funnel", "llm+rewrite"]
    singles = [["funnel"], ["funnel+rewrite"], ["llm"], ["llm+rewrite"], ["funnel+llm"], ["funnel+llm+rewrite"]]
    assert list(space[ARMS]) == [["funnel", "llm+rewrite"], *singles]
    assert "funnel.per_item" not in search_space(recipe_of(arms=["history"]))[0]
    with pytest.raises(InputError, match="controls alone"):
        search_space(recipe_of(arms=["random", "popular-items"]))


def test_the_command_shows_the_table(finished: Path) -> None:
    command = ["optimize", finished / "recipe.yaml", "--output", finished / "best", "--trials", TRIED]
    found = CliRunner().invoke(app, [str(word) for word in command])
    assert (found.exit_code, found.stdout) == (0, (finished / "table.txt").read_text())
