"""The trie that lets a model write known lines and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_grounding import grounding

from llm_aug.backends import completed, load_llm
from llm_aug.backends.rendering import Rendering
from llm_aug.backends.scripted import Scripted
from llm_aug.backends.trie import LineTrie
from llm_aug.data import Prompt, Sampling
from llm_aug.errors import InputError
from llm_aug.tasks.grounding import lines


def by_letter(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def written(trie: LineTrie, seed: int, longest: int = 400) -> list[int]:
    """Token ids of one answer, each drawn from what is allowed, until an end."""
    random, ids = np.random.default_rng(seed), list[int]()
    while len(ids) < longest:
        allowed = sorted(trie.allowed(ids))
        assert allowed, ids
        token = int(random.choice(allowed))
        if token in trie.ends:
            return ids
        ids.append(token)
    raise AssertionError("no end was drawn")


def test_the_trie_allows_titles_separators_and_ends() -> None:
    trie = LineTrie(["ab", "abc", "d"], by_letter, ends=[0])
    a, b, c, d, line, end = *by_letter("abcd\n"), 0
    assert trie.allowed([]) == {a, d}
    assert trie.allowed([a]) == {b}
    assert trie.allowed([a, b]) == {c, line, end}
    assert trie.allowed([a, b, line]) == {a, d}
    assert trie.allowed([a, b, line, a, b]) == {c}  # "ab" is said, "abc" is not
    assert trie.allowed([a, b, line, a, b, c]) == {line, end}
    assert trie.allowed([a, b, line, a, b, c, line]) == {d}
    assert trie.allowed([a, b, line, a, b, c, line, d]) == {end}
    assert trie.allowed([b]) == trie.allowed([a, b, end]) == frozenset()


def test_the_trie_ends_after_so_many_titles() -> None:
    trie = LineTrie(["a", "b", "c"], by_letter, ends=[0], most=2)
    assert trie.allowed(by_letter("a")) == {10, 0}
    assert trie.allowed(by_letter("a\nb")) == {0}


def test_titles_can_be_barred_for_one_answer() -> None:
    trie = LineTrie(["a", "b", "c"], by_letter, ends=[0], most=2)
    without = [(ord("a"),), (ord("x"),)]
    assert trie.allowed([], without) == set(by_letter("bc"))
    assert trie.allowed(by_letter("b\n"), without) == set(by_letter("c"))
    assert trie.allowed(by_letter("b\nc"), without) == {0}
    assert trie.allowed([], [(ord(letter),) for letter in "abc"]) == {0}
    assert trie.allowed(by_letter("a"), without) == frozenset()


def test_separators_that_begin_like_titles_are_followed_both_ways() -> None:
    trie = LineTrie(["a", "a; b", "c"], by_letter, ends=[0], separator="; ")
    assert trie.allowed(by_letter("a; ")) == set(by_letter("abc"))
    assert trie.allowed(by_letter("a; b")) == {ord(";"), 0}


def test_a_trie_without_anything_to_say_is_refused() -> None:
    with pytest.raises(InputError, match="give no line"):
        LineTrie([], by_letter, ends=[0])
    with pytest.raises(InputError, match="no end of an answer"):
        LineTrie(["a"], by_letter, ends=[])
    with pytest.raises(InputError, match="no separator"):
        LineTrie(["a"], lambda text: by_letter(text.strip()), ends=[0])


@pytest.mark.parametrize(("architecture", "separator"), [("llama", "\n"), ("qwen2", "\n"), ("t5", "\n")])
def test_whatever_is_drawn_from_the_trie_is_grounded(
    model_folder: Callable[..., Path], architecture: str, separator: str
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder(architecture))
    rendering = Rendering(tokenizer, [tokenizer.eos_token_id], seq2seq=architecture == "t5")
    found = grounding()
    trie = LineTrie(found.unique_names(), rendering.answer_ids, rendering.ends, separator, most=4)
    for seed in range(20):
        answer = lines(rendering.answer_text(written(trie, seed)), truncated=False)
        items = [found.ground(line).item for line in answer]
        assert 1 <= len(items) == len(set(items)) <= 4
        assert "" not in items


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_that_is_held_to_lines_writes_no_others(
    model_folder: Callable[..., Path], architecture: str, temperature: float
) -> None:
    titles = ["Heat", "Heat 2", "Toy Story", "Toy Story 2, 1999", "Casino", "Sabrina"]
    llm = load_llm(str(model_folder(architecture)), device="cpu").restricted(titles, 3)
    prompts = [Prompt("", f"Liked: {title}") for title in titles] * 3
    answers = completed(llm, prompts, Sampling(temperature, 0.9, 80), list(range(18)))
    for answer in answers:
        said = answer.text.split("\n")
        assert answer.finish == "stop"
        assert set(said) <= set(titles), answer
        assert len(said) == len(set(said)) <= 3
    assert temperature == 0 or len({answer.text for answer in answers}) > 1
    assert [answer.text for answer in completed(llm, prompts[:2], Sampling(temperature, 0.9, 80), [0, 1])] == [
        answer.text for answer in answers[:2]
    ]


def test_a_script_cannot_be_held_to_lines() -> None:
    llm = Scripted(lambda *_: "Heat", lambda *_: 0.0)
    with pytest.raises(InputError, match="cannot be held to a list of lines"):
        llm.restricted(["Heat"], 1)
