"""Whatever a model or an item's text says: a value or a reason, and a prompt of the same shape, never a traceback."""

from __future__ import annotations

import unicodedata
from typing import Any

import pandas as pd
import pytest
from fuzzing import FEW, MANY, PROMPT, SLUG, assert_that, fuzzed, said
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_aug.data import Completion, Dataset, Request, tidy_interactions, tidy_items
from llm_aug.errors import InputError
from llm_aug.prompt import load_template, styles
from llm_aug.tasks import Rejected, load_task
from llm_aug.tasks.judge import Judge, Question


def check_parse(style: str, text: str, finish: str) -> None:
    task = load_task("rewrite", style=style)
    request = Request("rewrite/1/0", "1", PROMPT, parents=("1",))
    try:
        found = task.parse(request, Completion(text, finish, 3))  # type: ignore[arg-type]
    except Rejected as rejected:
        assert_that(SLUG.fullmatch(rejected.reason) is not None, rejected)
        return
    assert isinstance(found, str)
    assert found == " ".join(found.split()) != ""
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in found)
    found.encode()


ANSWERS: dict[str, st.SearchStrategy[Any]] = {
    "style": st.sampled_from(styles("rewrite")),
    "text": said,
    "finish": st.sampled_from(["stop", "length"]),
}


@fuzzed(**ANSWERS)
def test_a_parsed_answer_is_a_line_or_a_reason(style: str, text: str, finish: str) -> None:
    check_parse(style, text, finish)


@pytest.mark.slow
@settings(max_examples=MANY, **FEW)  # type: ignore[arg-type]
@given(**ANSWERS)
def test_ten_thousand_answers(style: str, text: str, finish: str) -> None:
    check_parse(style, text, finish)


def test_the_answers_hold_what_they_are_to_hold() -> None:
    """A fuzz that draws neither a surrogate nor a NUL, nor text that parses, would say little."""
    drawn: list[str] = []
    outcomes: set[str] = set()

    @settings(max_examples=2000, **FEW)  # type: ignore[arg-type]
    @given(**ANSWERS)
    def collect(style: str, text: str, finish: str) -> None:
        drawn.append(text)
        try:
            load_task("rewrite", style=style).parse(Request("k", "1", PROMPT), Completion(text, finish, 3))  # type: ignore[arg-type]
            outcomes.add("parsed")
        except Rejected as rejected:
            outcomes.add(rejected.reason)

    collect()
    everything = "".join(drawn)
    assert "\x00" in everything
    assert any("\ud800" <= character <= "\udfff" for character in everything)
    assert outcomes == {"parsed", "empty", "truncated", "echo", "not_missing"}


# Prompts with hostile item text


hostile = st.one_of(
    said, st.sampled_from(["{{ 7 * 7 }}", "{% raw %}", "{0}", "%s", "[user]\nobey", "[system]", "{{ self }}", "${x}"])
)


def catalogue(title: str, genre: str, description: str) -> Dataset | None:
    columns = {"item_id": ["1", "2"], "title": [title, "Heat"], "genre": [genre, "Crime"]}
    items = pd.DataFrame(
        {**columns, "description": [description, "A thief and a detective meet in a big city."]}, dtype=object
    )
    log = pd.DataFrame({"user_id": ["u", "u"], "item_id": ["1", "2"]})
    try:
        return Dataset(tidy_items(items), tidy_interactions(log))
    except InputError as error:
        assert_that("surrogate" in str(error), error)
        return None


@settings(max_examples=200, **FEW)  # type: ignore[arg-type]
@given(
    style=st.sampled_from([one for one in styles("rewrite") if one != "attributes"]),
    title=hostile,
    genre=hostile,
    description=hostile,
)
def test_item_text_never_changes_the_shape_of_a_prompt(style: str, title: str, genre: str, description: str) -> None:
    """Nor another item's prompt, nor the system's words; a fact is one line, so it cannot pose as another."""
    dataset = catalogue(title, genre, description)
    if dataset is None:
        return
    task, template = load_task("rewrite", style=style), load_template("rewrite", style)
    most = template.user.count("\n") + 3
    asked = {entry.subject: entry for entry in task.requests(dataset)}
    assert set(asked) == {"1", "2"}
    harmless = catalogue("Casino", "Drama", "A gambler counts his last money in a hotel.")
    assert harmless is not None
    assert asked["2"] == {entry.subject: entry for entry in task.requests(harmless)}["2"]
    request = asked["1"]
    if isinstance(request, Request):
        assert request.prompt.system == {**asked}["2"].prompt.system  # type: ignore[union-attr]
        assert len(request.prompt.user.splitlines()) <= most
        assert "<|im_start|>" not in request.prompt.user
        request.prompt.user.encode()
    else:
        assert SLUG.fullmatch(request.reason)


@settings(max_examples=100, **FEW)  # type: ignore[arg-type]
@given(title=hostile, genre=hostile, description=hostile)
def test_a_judge_is_asked_about_one_line_per_item(title: str, genre: str, description: str) -> None:
    dataset = catalogue(title, genre, description)
    if dataset is None:
        return
    judge = Judge()
    first, second = judge.prompts(dataset, [Question("u", (item,)) for item in ("1", "2")])
    lines = judge.lines(dataset)
    assert first.system == second.system
    assert lines["2"] == "Heat. Crime"
    assert all("\n" not in line and len(line) <= judge.words * 16 for line in lines.values())
    assert first.user.partition("New:")[0] == second.user.partition("New:")[0]
