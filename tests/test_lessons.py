"""What the built-in model is taught, and from which text: cleaning, and the tasks' own examples."""

from __future__ import annotations

import numpy as np
import pytest
from small_corpus import film, pair, prose_row

from llm_aug.builtin import cleaning, lessons
from llm_aug.builtin.examples import Document
from llm_aug.builtin.memorised import Memory, Said, memory
from llm_aug.builtin.reserved import reserved
from llm_aug.data import Prompt
from llm_aug.prompt import prompts_folder
from llm_aug.seeds import generator

TALE = "The old keeper lights the lamp each night and writes the names of the passing ships in a small red book."


@pytest.fixture
def rng() -> np.random.Generator:
    return generator(0, "test")


@pytest.mark.parametrize("other", ["Cable Guy, The", "The Cable Guy (1996)", "the cable guy", "The Cable Guy (film)"])
def test_a_title_is_reserved_however_a_catalogue_writes_it(other: str) -> None:
    assert reserved(other) == reserved("The Cable Guy")


def test_a_tenth_of_all_titles_is_reserved() -> None:
    assert 60 < sum(reserved(f"Story of {number}") for number in range(1000)) < 140


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"source": "open5e_items", "text": TALE, "attrs": {"title": "Bow", "license": ["ogl-10a"]}}, "licence"),
        ({"source": "open5e_items", "text": TALE, "attrs": {"title": "Bow", "license": ["cc-by-40", "ogl-10a"]}}, ""),
        (prose_row("ud_ewt", "Too short."), "short"),
        (prose_row("ud_ewt", f"{TALE} See http://a.example."), "link"),
        (prose_row("ud_ewt", TALE), ""),
    ],
)
def test_why_a_row_is_not_read(row: dict, reason: str) -> None:
    assert cleaning.fault(row) == reason


def test_a_reserved_film_is_not_read() -> None:
    titles = [f"Story {number}" for number in range(40)]
    read = [cleaning.fault(film(number)) for number in range(40)]
    assert read == ["reserved" if reserved(title) else "" for title in titles]
    assert "reserved" in read


def test_text_is_repaired() -> None:
    row = cleaning.repaired(prose_row("x", "Caf\u0065\u0301\x00 is\u00a0open.  \n \n\n\n Come in. "))
    assert row["text"] == "Caf\u00e9 is open.\n\nCome in."


def test_of_rows_that_say_the_same_the_first_stays() -> None:
    changed = TALE.replace("red book", "blue book")
    rows = [prose_row("a", text) for text in (TALE, TALE.upper(), changed, "Quite another thing is said in this one.")]
    found = cleaning.unlike(rows)
    assert found.places == [0, 3]
    assert found.dropped == {"exact": 1, "near": 1}


def test_two_questions_with_one_answer_are_two_rows() -> None:
    rows = [pair("dart", f"The Mill | food | {food}", "It serves food.") for food in ("Thai", "Greek and Turkish")]
    assert cleaning.unlike(rows).places == [0, 1]


def test_short_texts_are_compared_by_their_letters() -> None:
    said = (
        "A wooden chair for the garden",
        "A wooden table for the garden",
        "A wooden chair for the gardens",
        "Two words",
    )
    assert cleaning.unlike([prose_row("a", text) for text in said]).places == [0, 1, 3]


# The tasks' own examples.


@pytest.mark.parametrize("style", lessons.REWRITING)
def test_every_style_of_rewriting_is_taught_by_its_task(style: str, rng: np.random.Generator) -> None:
    text = "The long tale of Ann begins in a quiet town. The kids often meet a huge, angry killer, and they escape."
    found = list(lessons.rewriting(style)([film(number, text) for number in range(40)], rng))
    assert len(found) > 20
    system = {document.prompt.system for document in found if document.prompt}
    assert system == {(prompts_folder() / "rewrite" / f"{style}.md").read_text().splitlines()[1]}
    assert {document.task for document in found} == {style}


@pytest.mark.parametrize("name", lessons.READING)
def test_every_task_about_users_is_taught_of_made_ones(name: str, rng: np.random.Generator) -> None:
    found = list(lessons.reading(name)([film(number) for number in range(120)], rng))
    assert found
    assert all(document.answer and document.task == name for document in found)


@pytest.mark.parametrize(("style", "answers"), [("preference", {"A", "B"}), ("both_orders", {"yes", "no"})])
def test_verdicts_of_made_users_are_even(style: str, answers: set[str], rng: np.random.Generator) -> None:
    said = [document.answer for document in lessons.judging(style)([film(number) for number in range(120)], rng)]
    assert set(said) == answers
    assert 0.4 < said.count(min(answers)) / len(said) < 0.6


def test_a_made_user_likes_what_follows_his_rule_and_labels_are_new(rng: np.random.Generator) -> None:
    (shelf,) = lessons.shelves([film(number) for number in range(120)], rng, users=True)
    log = shelf.dataset.interactions
    assert set(zip(log["user_id"], log["item_id"], strict=True)).isdisjoint(
        zip(shelf.labelled["user_id"], shelf.labelled["item_id"], strict=True)
    )
    rows = shelf.dataset.items.set_index("item_id")
    for _, items in log[log["rating"] > 3].groupby("user_id")["item_id"]:
        own = [{rows["genres"][item], rows["cast"][item]} for item in items]
        values = sorted(set().union(*own))
        assert any(all({one, other} & each for each in own) for one in values for other in values)


def test_the_same_seed_makes_the_same_lessons() -> None:
    rows = [film(number) for number in range(60)]
    first, second = (list(lessons.reading("extend")(rows, generator(3, "test"))) for _ in range(2))
    assert first == second


# Copies.


def said(answer: str, prompt: str = "Write.") -> Said:
    return Said(Document("describe", "s", "", Prompt("", prompt)), "", answer)


def test_a_passage_of_the_training_text_is_found_and_one_of_the_prompt_is_not() -> None:
    new = "Nothing of this stands in any text that the model was ever shown before today at all."
    found = memory([said(f"Well. {TALE}"), said(TALE, f"Description: {TALE}"), said(new), said(new)], [TALE, "Other."])
    assert (found.samples, found.share, found.longest) == (4, 0.25, len(TALE.split()))
    assert found.passage.startswith("Well.")


def test_the_longest_passage_may_be_short() -> None:
    found = memory([said("He lights the lamp each night, alone.")], [TALE])
    assert (found.share, found.longest) == (0.0, 5)
    assert memory([said("Nothing.")], [TALE]) == Memory(1, 0.0, 0, "")
