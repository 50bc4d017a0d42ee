"""Recipes: every mistake is named with its key, nothing unknown passes, and what is written reads back the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from llm_aug.config import Recipe, load_recipe, recipe_of
from llm_aug.errors import InputError
from llm_aug.starters import load_demo, write_starter


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modle: x", r"no such key as modle; did you mean 'model'\?"),
        ("split: {cold_fracton: 0.1}", r"no such key as split\.cold_fracton; did you mean 'cold_fraction'\?"),
        ("interactions: {judge: {histry: 3}}", r"interactions\.judge\.histry; did you mean 'history'\?"),
        ("filter: {fidelity: {marign: 0.1}}", r"filter\.fidelity\.marign; did you mean 'margin'\?"),
        ("filter: {fidelty: {margin: 0.1}}", r"filter\.fidelty; did you mean 'fidelity'\?"),
        (
            "evaluate: {students: {ials: {factor: 3}}}",
            r"student 'ials' has no option 'factor'; did you mean 'factors'\?",
        ),
        ("evaluate: {students: {isal: {}}}", r"no student 'isal'; did you mean 'ials'\?"),
        ("adapter: somewhere", "adapter and finetune are both set; with finetune: null"),
        ("arms: [funnel, lm]", r"arms\.1 is 'lm'; did you mean 'llm'\?"),
        ("finetune: {tasks: [juge]}", r"finetune\.tasks\.0 is 'juge'; did you mean 'judge'\?"),
        ("rewrite: {style: descrbe}", r"no style 'descrbe'; did you mean 'describe'\?"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest_one(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"recipe\.yaml: .*{words}"):
        load_recipe(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("finetune: {lora_r: 0}", r"finetune\.lora_r is 0: input should be greater than or equal to 1"),
        ("split: {cold_fraction: many}", r"split\.cold_fraction is 'many': input should be a valid number"),
        ("split: {cold_fraction: 2}", "cold_fraction is 2.0; a share is at least 0"),
        ("split: 3", "split is 3"),
        ("data: {format: table}", r"data\.source is missing"),
        ("seeds: []", r"seeds is \[\]"),
        ("seeds: [1, 2, 1]", "seeds names 1 twice"),
        ("rewrite: {tries: 2, temperature: 0}", r"rewrite\.tries is above 1 at temperature 0"),
        ("evaluate: {students: {}}", "no student is named"),
        ("evaluate: {students: {ials: {factors: x}}}", "student 'ials': factors is 'x'"),
        ("split: {seed: 3}", r"split\.seed is not set here: it comes from 'seeds'"),
        ("evaluate: {encoder: minilm}", r"evaluate\.encoder is not set here: it comes from 'encoder'"),
        ("model: a\nmodel: b", "key 'model' stands twice"),
        ("- model", "its top level is list"),
        ("", "its top level is NoneType"),
        ("model: [", "not readable YAML"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_key(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        load_recipe(written(tmp_path, text))


def test_a_file_that_is_not_there_is_answered_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="llm-aug init"):
        load_recipe(tmp_path / "nowhere.yaml")


def test_an_override_reaches_its_key_and_is_checked_like_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "split: {cold_fraction: 0.1}\nrewrite:\n")
    recipe = load_recipe(path, ["split.cold_fraction=0.3", "arms=[llm]", "rewrite.limit=5", "finetune=null"])
    assert (recipe.split.cold_fraction, recipe.arms, recipe.rewrite.limit) == (0.3, ("llm",), 5)
    assert recipe.finetune is None
    for override, words in (
        ("split.cold=1", "no such key"),
        ("model", "not key=value"),
        ("model.name=x", "no such key as model|input should be a valid string"),
        ("split.cold_fraction.x=1", "cold_fraction is a value and has no keys"),
    ):
        with pytest.raises(InputError, match=words):
            load_recipe(path, [override])


def test_a_section_of_comments_is_its_defaults_and_a_student_without_options_is_tuned(tmp_path: Path) -> None:
    path = written(tmp_path, "split:\n  # cold_fraction: 0.1\nevaluate:\n  students:\n    ials:\n")
    recipe = load_recipe(path)
    assert recipe.split == Recipe().split
    assert recipe.evaluate.students == {"ials": {}}


def test_a_number_that_yaml_reads_as_text_is_a_number(tmp_path: Path) -> None:
    text = "finetune: {learning_rate: 1e-3}\nevaluate: {students: {ials: {alpha: 1e-3}}}"
    recipe = load_recipe(written(tmp_path, text))
    assert recipe.finetune is not None
    assert (recipe.finetune.learning_rate, recipe.evaluate.students["ials"]["alpha"]) == (0.001, 0.001)


def test_what_is_resolved_reads_back_as_the_same_recipe(tmp_path: Path) -> None:
    overrides = ["filter.repeat.similarity=0.9", "finetune=null", "seeds=[3, 4]"]
    recipe = recipe_of(overrides, evaluate={"students": {"ials": {"factors": 8}}})
    again = load_recipe(written(tmp_path, yaml.safe_dump(recipe.resolved())))
    assert again.resolved() == recipe.resolved()
    assert (again.seeds, again.finetune, again.resolved()["filter"]["repeat"]["similarity"]) == ((3, 4), None, 0.9)


def test_a_source_is_relative_to_its_file_and_a_bundled_one_to_nothing(tmp_path: Path) -> None:
    here = load_recipe(written(tmp_path, "data: {source: log}"))
    assert here.data is not None
    assert here.data.source == str(tmp_path / "log")
    bundled = load_recipe(written(tmp_path, "data: {source: 'builtin:movielens'}"))
    assert bundled.data is not None
    assert bundled.data.source == "builtin:movielens"


def test_a_flag_that_was_not_given_leaves_the_default() -> None:
    recipe = recipe_of(split={"cold_fraction": None, "strategy": "user-random"}, model=None)
    assert (recipe.split.cold_fraction, recipe.split.strategy, recipe.model) == (0.2, "user-random", "builtin:mini")


def test_the_recipes_of_the_package_are_valid(tmp_path: Path) -> None:
    assert load_demo(["seeds=[7]"]).seeds == (7,)
    starter = load_recipe(write_starter(tmp_path))
    assert starter.seeds == (0, 1, 2)
    with pytest.raises(InputError, match="there already"):
        write_starter(tmp_path)
