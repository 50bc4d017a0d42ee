"""What teaches a style of rewriting: the same again, of the requests' look, accepted, and nothing that is not shown."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from lamps import LAMP, shelf

from llm_aug import seeds
from llm_aug.data import Completion, Dataset, Request, tidy_items
from llm_aug.facts import Vocabulary, invented_names, invented_numbers, known
from llm_aug.tasks.rewording import SYNONYMS, is_changed, reworded, swapped
from llm_aug.tasks.rewrite import Rewrite
from llm_aug.tasks.rewrite_lessons import condensed, dealt, gist, padded, pruned
from llm_aug.tasks.rewrite_styles import STYLES
from llm_aug.tasks.told import borne_out, told
from llm_aug.text import names, quantities, sentences

UP = [("Title", "Up"), ("Year", "2009"), ("Cast", "Ed Asner, Bob Peterson"), ("Colours", "red, blue"), ("Mood", "warm")]
TEXT = (
    "Ann Lee begins her long journey in 1944, and she really often meets her best friend Bob in 3 towns. It all ends "
    "in Rome because of her father, who is very tired. It is a lovely story."
)


@pytest.fixture
def rng() -> np.random.Generator:
    return seeds.generator(0, "test")


@pytest.mark.parametrize("style", sorted(STYLES))
def test_examples_are_the_same_again_and_look_like_requests(style: str) -> None:
    task, other = Rewrite(style=style), Rewrite(style=style, seed=1)
    items = shelf().items
    items.loc[0, "description"] = f"{TEXT} {LAMP}"
    shop = replace(shelf(), items=items)
    examples = list(task.examples(shop))
    assert examples
    assert examples == list(task.examples(shop))
    fewer = replace(shop, items=items.drop(index=1))
    if style != "attributes":  # whose closed set is the whole catalogue's
        assert all(example in examples for example in task.examples(fewer))
        assert style == "condense" or examples != list(other.examples(shop))  # a gist is the only one
    request = next(one for one in task.requests(shelf()) if isinstance(one, Request))
    assert examples[0].prompt.system == request.prompt.system
    labels = {line.partition(":")[0] for line in request.prompt.user.splitlines()} | {"Kind", "Review", "Other text"}
    assert {line.partition(":")[0] for one in examples for line in one.prompt.user.splitlines()} <= labels


@pytest.mark.parametrize("style", sorted(set(STYLES) - {"attributes"}))
def test_an_answer_is_parsed_and_holds_nothing_that_the_question_does_not_show(style: str) -> None:
    rows = [
        {"item_id": f"f{n}", "title": f"Long Way {n}", "year": "1950", "description": TEXT.replace("Bob", f"Bob{n}")}
        for n in range(6)
    ]
    task = Rewrite(style=style)
    lessons = list(task.lessons(Dataset(tidy_items(pd.DataFrame(rows)), shelf().interactions)))
    assert [asked.subject for asked, _ in lessons] == [row["item_id"] for row in rows]
    for asked, answer in lessons:
        row = known(asked.prompt.user)
        assert task.parse(asked, Completion(answer, "stop", 0)) == answer
        assert invented_numbers(answer, row) == []
        assert invented_names(answer, row, Vocabulary.of((), (), ())) == []


def test_an_answer_that_the_style_would_refuse_is_no_lesson() -> None:
    """Of a text of names, and a title alone, no rule makes another wording."""
    items = tidy_items(pd.DataFrame([{"item_id": "a", "title": "Pen", "description": "Pen Ann Bob Lee"}]))
    bare = Dataset(items, shelf().interactions)
    found = {style: len(list(Rewrite(style=style).lessons(bare))) for style in ("paraphrase", "swap", "describe")}
    assert found == {"paraphrase": 0, "swap": 0, "describe": 1}


def test_the_facts_are_told_once_each_in_several_wordings() -> None:
    made = {told(UP, seeds.generator(seed, "test")) for seed in range(20)}
    assert len(made) > 10
    for text in made:
        assert text.count("Up") == text.count("2009") == text.count("warm") == 1
        assert "Ed Asner and Bob Peterson" in text
        assert "red and blue" in text
        assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences(text))
    assert "Up" in told(UP[:1], seeds.generator(0, "test"))


def test_sentences_are_borne_out_by_names_numbers_and_most_words() -> None:
    text = "Ed Asner is in it, and Bob Peterson. Carl flies to Rome. It has 3 dogs. A man is sad. In 2009 it was warm."
    assert borne_out(text, UP) == ["Ed Asner is in it, and Bob Peterson.", "In 2009 it was warm."]


def test_padding_only_adds(rng: np.random.Generator) -> None:
    longer = padded(LAMP, rng)
    assert len(longer.split()) > len(LAMP.split())
    assert all(sentence.split()[0] in longer for sentence in sentences(LAMP))


def test_a_gist_has_every_name_and_number() -> None:
    assert gist("A lamp by Nordlys. It is nice. Nordlys made it in Oslo. It has 2 bulbs. Lovely.") == [
        "A lamp by Nordlys.",
        "Nordlys made it in Oslo.",
        "It has 2 bulbs.",
    ]


@pytest.mark.parametrize(
    ("sentence", "short"),
    [
        ("The old man really walks home (quite late), while others sleep.", "The old man walks home."),
        ("The old man walks home, while Ann sleeps.", "The old man walks home, while Ann sleeps."),
        ("The old man walks home (in 1944).", "The old man walks home (in 1944)."),
        ("He goes when she comes.", "He goes when she comes."),
        ("It is made for students, teachers, and artists.", "It is made for students, teachers, and artists."),
    ],
)
def test_what_holds_no_name_and_no_number_is_pruned(sentence: str, short: str) -> None:
    assert pruned(sentence) == short


def test_a_text_is_condensed_to_its_gist_or_by_undoing_padding(rng: np.random.Generator) -> None:
    assert condensed(TEXT, UP, rng) == (
        TEXT,
        "Ann Lee begins her long journey in 1944, and she often meets her best friend Bob in 3 towns. "
        "It all ends in Rome because of her father.",
    )
    shown, whole = condensed("A crisp red fruit from the orchard keeps well.", UP, rng)
    assert whole == "A crisp red fruit from the orchard keeps well."
    assert len(shown) > len(whole)


def test_sources_tell_all_together_and_a_single_sentence_is_joined_by_the_facts(rng: np.random.Generator) -> None:
    shown, answer = dealt(LAMP, UP, ["description", "review"], rng)
    assert set(sentences(" ".join(shown.values()))) == set(sentences(LAMP))
    assert len(sentences(answer)) == len(sentences(LAMP))
    shown, answer = dealt("A red fruit", UP, ["description", "review"], rng)
    assert shown["description"] == "A red fruit"
    assert answer == f"A red fruit. {shown['review']}"


# Rules that reword.


def test_a_reworded_text_keeps_names_and_numbers(rng: np.random.Generator) -> None:
    made = reworded(TEXT, rng)
    assert is_changed(TEXT, made)
    assert quantities(made) == quantities(TEXT)
    assert names(made) == names(TEXT)


def test_a_sentence_is_cut_in_two_and_its_year_moves(rng: np.random.Generator) -> None:
    made = reworded("The ship leaves the huge harbour, and it sinks near the coast because of a deadly storm.", rng)
    assert sentences(made)[1].startswith("It sinks ")
    assert reworded("The huge ship finally sank near the coast in 1912.", rng).startswith("In 1912, the ")


def test_a_text_without_any_synonym_is_not_reworded(rng: np.random.Generator) -> None:
    assert reworded("Ann Lee paints a door green.", rng) == ""


def test_a_swap_moves_nothing_and_mends_articles() -> None:
    for seed in range(9):
        made = swapped("A huge ship was an ideal home. It sank in New Perfect Town.", seeds.generator(seed, "t"))
        assert re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", made) is None
        assert made.endswith("New Perfect Town.")


def test_synonyms_are_other_plain_words() -> None:
    for phrase, others in SYNONYMS.items():
        assert re.fullmatch(r"(?:, )?[a-z' -]+", phrase)
        assert phrase not in others
        assert len(others) == len(set(others))
