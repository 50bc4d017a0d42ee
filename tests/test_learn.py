"""What a recipe teaches: which styles of which tasks, how many examples of each, and what decides on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from planted import split as planted_split
from test_simulate import found

from llm_aug import learn
from llm_aug.config import Recipe, recipe_of
from llm_aug.data import Example, Split
from llm_aug.errors import InputError
from llm_aug.tasks.judge import Judge

DESCRIPTION = (
    "A thing of {} that one keeps at home, looks at in the evening, and would not give away for anything else."
)


def split() -> Split:
    """The planted world with descriptions, so that there is something to rewrite."""
    world = planted_split()
    return replace(world, items=world.items.assign(description=world.items["title"].map(DESCRIPTION.format)))


@pytest.fixture(autouse=True)
def funnel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "candidates_of", lambda *_: found())


def recipe(*tasks: str, **sections: Any) -> Recipe:
    options = sections.pop("finetune", {})
    return recipe_of(finetune={"tasks": list(tasks), **options}, encoder="hash:64", **sections)


def systems(examples: list[Example]) -> set[str]:
    return {example.prompt.system for example in examples}


def test_one_adapter_learns_several_styles() -> None:
    asked = ("rewrite/paraphrase", "rewrite/describe", "history/extend", "judge/preference", "judge")
    training, validation = learn.examples_of(recipe(*asked), split())
    assert len(systems(training)) == len(systems(validation)) == 5
    one_by_one = [learn.examples_of(recipe(task), split()) for task in asked]
    assert len(training) == sum(len(train) for train, _ in one_by_one)
    assert sorted(map(repr, training)) == sorted(repr(example) for train, _ in one_by_one for example in train)
    assert [example.prompt.system for example in training[:20]] != sorted(e.prompt.system for e in training[:20])


def test_an_entry_without_a_style_has_its_sections() -> None:
    sections = {"rewrite": {"style": "expand"}, "interactions": {"judge": {"style": "preference", "history": 3}}}
    lessons = learn.lessons(recipe("judge", "rewrite", "rewrite/expand", "rewrite/describe", **sections))
    assert list(lessons) == ["judge/preference", "rewrite/expand", "rewrite/describe"]
    assert lessons["judge/preference"] == Judge("preference", history=3)
    assert [lesson.prompt_hash for lesson in lessons.values()][1] == learn.lessons(recipe("rewrite/expand"))[
        "rewrite/expand"
    ].prompt_hash


def test_per_task_keeps_one_from_drowning_the_others() -> None:
    training, validation = learn.examples_of(
        recipe("rewrite/describe", "history/extend", finetune={"per_task": 20}), split()
    )
    assert (len(training), len(validation)) == (40, 4)
    assert len(systems(training)) == 2
    whole, _ = learn.examples_of(recipe("rewrite/describe", "history/extend"), split())
    assert {repr(example) for example in training} < {repr(example) for example in whole}


def test_the_limit_is_of_all_together() -> None:
    limited, _ = learn.examples_of(recipe("rewrite/describe", "history/extend", finetune={"limit": 30}), split())
    assert len(limited) == 30


def test_styles_that_teach_by_the_same_items_hold_out_the_same() -> None:
    training, validation = learn.examples_of(recipe("rewrite/describe", "rewrite/paraphrase"), split())
    answers = {example.answer for example in training}
    assert not answers & {example.answer for example in validation}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("juge/history", r"finetune\.tasks\.1 is 'juge/history'; did you mean 'judge'"),
        ("rewrite/descrbe", "task 'rewrite' has no style 'descrbe'; did you mean 'describe'"),
        ("judge/preferences", "task 'judge' has no style 'preferences'; did you mean 'preference'"),
        ("judge/", "task 'judge' has no style ''"),
        ("interactions", r"finetune\.tasks\.1 is 'interactions'; known: history, judge, profile, review, rewrite"),
    ],
)
def test_what_cannot_be_learnt_is_refused_with_the_nearest_name(entry: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        recipe("judge", entry)


def test_what_is_learnt_tells_styles_and_wordings_apart() -> None:
    one, other, bare = (learn.learnt(recipe(entry)) for entry in ("rewrite/expand", "rewrite/describe", "rewrite"))
    assert one.keys() == {"rewrite/expand"}
    assert one["rewrite/expand"]["options"]["style"] == "expand"
    assert one["rewrite/expand"]["prompt"] != other["rewrite/describe"]["prompt"]
    assert bare == learn.learnt(recipe("rewrite/" + recipe("rewrite").task_options("rewrite")["style"]))
    judged = learn.learnt(recipe("judge/preference"))["judge/preference"]
    assert {"funnel", "encoder", "options", "prompt"} == judged.keys()
    seen = learn.learnt(recipe("judge/preference", interactions={"judge": {"history": 3}}))["judge/preference"]
    assert seen["options"] != judged["options"]


def test_nothing_to_learn_is_an_error_that_names_the_task() -> None:
    with pytest.raises(InputError, match="task 'rewrite' finds no example of style 'condense' in this split: no item"):
        learn.examples_of(recipe("rewrite/condense"), planted_split())
