"""What the built-in model reads: the mix, its documents, and rule-made readers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import zstandard
from small_corpus import film, pair, prose_row, small_corpus

from llm_aug.builtin import cleaning, corpus, examples, readers
from llm_aug.errors import InputError
from llm_aug.prompt import load_template
from llm_aug.seeds import generator


@pytest.fixture
def rng() -> np.random.Generator:
    return generator(0, "test")


def test_mix_has_every_task_and_keeps_to_its_shares(tmp_path: Path) -> None:
    streams = corpus.read_streams(small_corpus(tmp_path))
    found = corpus.mix(streams, characters=20_000, seed=0)
    counts = Counter(document.task for document in found)
    assert {"prose", "describe", "paraphrase", "expand", "judge", "trim", "fuse", "queries", "write"} <= set(counts)
    novel = sum(document.characters for document in found if document.source == "litbank_fiction")
    assert novel <= 0.05 * sum(document.characters for document in found)


def test_mix_is_the_same_for_the_same_seed_only(tmp_path: Path) -> None:
    streams = corpus.read_streams(small_corpus(tmp_path))
    assert corpus.mix(streams, 5_000, 1) == corpus.mix(streams, 5_000, 1)
    assert corpus.mix(streams, 5_000, 1) != corpus.mix(streams, 5_000, 2)


def test_held_out_rows_are_never_mixed_in(tmp_path: Path) -> None:
    streams = corpus.read_streams(small_corpus(tmp_path))
    held = {row["attrs"]["title"] for row in streams.held["wikipedia_movies"]}
    trained = {row["attrs"]["title"] for row in streams.rows["wikipedia_movies"]}
    assert held
    assert not held & trained
    questions = corpus.held_out_documents(streams, 3, 0)["describe"]
    assert all(any(f"{title}\n" in f"{d.prompt.user}\n" for title in held) for d in questions if d.prompt)


@pytest.mark.parametrize("text", ["Message-ID: 12 From: ann.lee at work", "Please write to ann.lee@enron.com today"])
def test_masc_mail_is_left_out(text: str) -> None:
    assert cleaning.fault(prose_row("nltk_masc_tagged", text)) == "e-mail"
    assert cleaning.fault(prose_row("nltk_masc_tagged", "The library has solid wooden tables.")) == ""


def test_tweets_are_in_no_stream() -> None:
    assert "positive_frames" not in corpus.SOURCES


def test_a_folder_without_a_corpus_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no corpus file of ours, such as .*\.jsonl\.zst"):
        corpus.read_streams(tmp_path)


def test_a_torn_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dart.jsonl.zst"
    path.write_bytes(zstandard.compress(b'{"text": "whole"}\n{"text": "to'))
    with pytest.raises(InputError, match="line 2"):
        list(corpus.read_rows(path))


def test_prose_is_cut_between_sentences() -> None:
    row = prose_row("litbank_fiction", "The sun rose. " * 200)
    pieces = [document.answer for document in corpus.prose([row])]
    assert len(pieces) == 2
    assert all(piece.startswith("The sun") and piece.endswith("rose.") for piece in pieces)


def test_cut_keeps_whole_sentences() -> None:
    assert examples.cut("One. Two by Alfred E. Green. Three.", 30) == "One. Two by Alfred E. Green."
    assert examples.cut("A sentence that is too long to fit.", 10) == ""


@pytest.mark.parametrize(
    ("source", "before", "facts"),
    [
        ("e2e_nlg", "name[The Eagle], eatType[pub]", [("title", "The Eagle"), ("eat type", "pub")]),
        ("rnnlg_sfx", "tv | inform: name = pontus 43; price = 99", [("title", "pontus 43"), ("price", "99")]),
        ("rnnlg_sfx", "tv | confirm: type = television", []),
        ("dart", "Newberry | NICK_NAME | Wolves", [("title", "Newberry"), ("nick name", "Wolves")]),
        ("dart", "Newberry | A | b; Other | C | d", []),
    ],
)
def test_facts_of_pairs(source: str, before: str, facts: list) -> None:
    assert examples.pair_facts(pair(source, before, "A text.")) == facts


def test_describe_asks_in_the_products_own_words(rng: np.random.Generator) -> None:
    (document,) = examples.describe([pair("dart", "Ohio | CAPITAL | Columbus", "Columbus is Ohio's capital.")], rng)
    assert document.prompt is not None
    assert document.prompt.system == load_template("rewrite", "describe").render(facts="").system
    assert document.prompt.user.lower() == "title: ohio\ncapital: columbus"
    assert document.answer == "Columbus is Ohio's capital."


def test_paraphrase_pairs_two_wordings_and_drops_near_copies(rng: np.random.Generator) -> None:
    rows = [
        pair("e2e_nlg", "name[The Eagle], food[Thai]", "The Eagle cooks Thai food by the river."),
        pair("e2e_nlg", "name[The Eagle], food[Thai]", "The Eagle cooks Thai food, by the river."),
        pair("e2e_nlg", "name[The Eagle], food[Thai]", "For a Thai dinner, go to The Eagle."),
    ]
    (document,) = examples.paraphrase(rows, rng)
    assert document.prompt is not None
    assert "Description: The Eagle cooks Thai food, by the river." in document.prompt.user
    assert document.answer == "For a Thai dinner, go to The Eagle."


def test_verdicts_are_even_and_follow_the_rule(rng: np.random.Generator) -> None:
    questions = list(readers.judge([film(n) for n in range(400)], rng))
    said = Counter(document.answer for document in questions)
    assert abs(said["yes"] - said["no"]) <= 1
    assert len(questions) > 200


def test_a_genre_of_the_whole_history_is_a_yes_and_an_unseen_one_is_a_no() -> None:
    history = [film(0), film(4), film(8), film(12), film(16)]
    assert readers._verdict(history, film(20), "genres") == "yes"
    assert readers._verdict(history, film(21), "genres") == "no"


def test_what_lies_between_is_not_asked() -> None:
    history = [film(0), film(4), film(1), film(2), film(3)]
    assert readers._verdict(history, film(8), "genres") == ""
