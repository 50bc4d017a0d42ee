"""The trie that lets a model write known lines and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from test_grounding import grounding

from llm_aug.backends import LLM, load_llm
from llm_aug.backends import decode as decode_module
from llm_aug.backends.hf import HF
from llm_aug.backends.rendering import Rendering
from llm_aug.backends.scripted import Scripted
from llm_aug.backends.trie import LineAnswer, LineTrie, masked
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.errors import InputError
from llm_aug.tasks.grounding import lines


def by_letter(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def trie(lines: Sequence[str], count: int, separator: str = "\n") -> LineTrie:
    """Tokens are letters, 0 ends an answer."""
    return LineTrie({line: by_letter(line) for line in lines}, by_letter(separator), [0], count)


def after(answer: LineAnswer, text: str) -> set[int]:
    for token in by_letter(text):
        answer.write(token)
    return set(answer.allowed)


def drawn(answer: LineAnswer, seed: int) -> list[int]:
    """Token ids of one answer, each drawn from what is allowed, until an end."""
    random, ids = np.random.default_rng(seed), list[int]()
    while (token := int(random.choice(answer.allowed))) not in answer.trie.ends:
        ids.append(token)
        answer.write(token)
    return ids


def test_a_list_ends_after_so_many_lines_and_says_none_twice() -> None:
    table = trie(["ab", "abc", "d"], 3)
    a, b, c, d, line = by_letter("abcd\n")
    for written, allowed in {
        "": {a, d},
        "a": {b},
        "ab": {c, line},
        "ab\n": {a, d},
        "ab\nab": {c},  # "ab" is said, "abc" is not
        "ab\nabc": {line},
        "ab\nabc\n": {d},
        "ab\nabc\nd": {0},
        "b": set(),
    }.items():
        assert after(table.answer(), written) == allowed, written
    assert after(trie(["ab", "abc", "d"], 1).answer(), "ab") == {c, 0}


def test_the_list_is_shorter_where_fewer_lines_are_left() -> None:
    assert after(trie(["a", "b"], 5).answer(), "b\na") == {0}
    assert after(trie(["a", "b", "c"], 5).answer(["c"]), "b\na") == {0}


def test_lines_are_barred_in_one_answer_alone() -> None:
    table = trie(["a", "ab", "b"], 2)
    barred = table.answer(["a", "x"])
    assert after(barred, "") == set(by_letter("ab"))
    assert after(barred, "a") == set(by_letter("b"))
    assert after(barred, "b\n") == set(by_letter("b"))
    assert after(table.answer(), "a") == set(by_letter("b\n"))
    nothing = table.answer(["a", "b", "ab"])
    assert (nothing.allowed, nothing.over) == ([0], True)


def test_separators_that_begin_like_lines_are_followed_both_ways() -> None:
    table = trie(["a", "a; b", "c"], 3, separator="; ")
    assert after(table.answer(), "a; ") == set(by_letter("bc")) | set(by_letter("a"))
    assert after(table.answer(), "a; b") == {ord(";")}
    assert after(table.answer(), "a; c") == {ord(";")}


def test_logits_are_masked_row_by_row() -> None:
    table = LineTrie({"a": [2], "b": [3, 4]}, [1], [0], 2)
    logits = torch.arange(10.0).reshape(2, 5)
    left = masked(logits, [table.answer(), table.answer(["a", "b"])])
    inf = torch.inf
    assert left.tolist() == [[-inf, -inf, 2, 3, -inf], [5, -inf, -inf, -inf, -inf]]


def test_a_trie_without_anything_to_say_is_refused() -> None:
    with pytest.raises(InputError, match=r"give no line$"):
        trie([], 1)
    with pytest.raises(InputError, match="no end of an answer"):
        LineTrie({"a": [1]}, [2], [], 1)
    with pytest.raises(InputError, match="no line end"):
        LineTrie({"a": [1]}, [], [0], 1)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "t5"])
def test_whatever_is_drawn_from_the_trie_is_grounded(model_folder: Callable[..., Path], architecture: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder(architecture))
    rendering = Rendering(tokenizer, [tokenizer.eos_token_id], seq2seq=architecture == "t5")
    found = grounding()
    encoded = {name: rendering.answer_ids(name) for name in found.unique_names()}
    table = LineTrie(encoded, rendering.answer_ids("\n"), rendering.ends, 4)
    for seed in range(20):
        answer = lines(rendering.answer_text(drawn(table.answer(), seed)), truncated=False)
        items = [found.ground(line).item for line in answer]
        assert len(items) == len(set(items)) == 4
        assert "" not in items


TITLES = ["Heat", "Heat 2", "Toy Story", "Toy Story 2, 1999", "Casino", "Sabrina"]


@pytest.fixture(params=["llama", "qwen2", "mistral", "gpt2", "t5", "script"])
def llm(request: pytest.FixtureRequest, model_folder: Callable[..., Path]) -> LLM:
    if request.param == "script":
        return Scripted(lambda prompt, _, seed: "\n".join(["Nothing", *TITLES[seed % 5 :], "Heat"]), lambda *_: 0.0)
    return load_llm(str(model_folder(request.param)), device="cpu")


def some(row: int) -> list[str]:
    """What row `row` may not name: nothing, or up to all titles."""
    return TITLES[: row % 7]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_that_is_held_to_lines_writes_no_others(llm: LLM, temperature: float) -> None:
    held, sampling, rows = llm.restricted(TITLES, 3), Sampling(temperature, 0.9, 80), range(64)
    prompts = [Prompt("", f"Liked: {' '.join(TITLES[: 1 + row % 5])}") for row in rows]
    answers = dict(held.complete(prompts, sampling, list(rows), some))
    for row, answer in answers.items():
        said, free = answer.text.split("\n") if answer.text else [], set(TITLES) - set(some(row))
        assert answer.finish == "stop"
        assert set(said) <= free, answer
        assert len(said) == len(set(said)) == min(3, len(free))
    assert temperature == 0 or len({answer.text for answer in answers.values()}) > 7
    for row in rows[:16]:
        alone = held.complete(prompts[row : row + 1], sampling, [row], lambda _, row=row: some(row))
        assert dict(alone) == {0: answers[row]}


def test_rows_that_join_later_or_begin_anew_keep_their_bars(
    model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = load_llm(str(model_folder("llama")), device="cpu")
    assert isinstance(llm, HF)
    held, sampling, keys = llm.restricted(TITLES, 3), Sampling(1.0, 0.9, 80), list(range(40))
    prompts = [Prompt("", "Liked: " + "Heat " * (1 + row % 9)) for row in keys]
    expected = dict(held.complete(prompts, sampling, keys, some))
    llm.engine.budget.tokens = 600
    read_prompts, joined = decode_module.read_prompts, [0]

    def short_of_memory(engine: object, prompts: list[list[int]], rows: list[int]) -> object:
        joined[0] += 1
        if joined[0] == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return read_prompts(engine, prompts, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(decode_module, "read_prompts", short_of_memory)
    assert dict(held.complete(prompts, sampling, keys, some)) == expected
    assert joined[0] > 5


def test_a_list_that_ends_just_at_max_tokens_is_whole(model_folder: Callable[..., Path]) -> None:
    held = load_llm(str(model_folder("llama")), device="cpu").restricted(TITLES, 2)
    [(_, whole)] = held.complete([Prompt("", "Liked:")], Sampling(0.0, 1.0, 80), [0], some)
    for less, finish in ((0, "stop"), (1, "length")):
        sampling = Sampling(0.0, 1.0, whole.n_tokens - less)
        [(_, answer)] = held.complete([Prompt("", "Liked:")], sampling, [0], some)
        assert answer.finish == finish
    assert whole.text.startswith(answer.text)


def test_lines_that_the_tokenizer_cannot_write_are_left_out(
    model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = load_llm(str(model_folder("llama")), device="cpu")
    answer_text = Rendering.answer_text
    monkeypatch.setattr(Rendering, "answer_text", lambda self, ids: answer_text(self, ids).replace("H", ""))
    [(_, answer)] = llm.restricted(["Heat", "Casino"], 2).complete([Prompt("", "a")], Sampling(), [0], lambda _: ())
    assert answer.text == "Casino"


def test_a_script_says_what_it_may_and_fills_its_list() -> None:
    llm = Scripted(lambda *_: "Casino\nNothing\n Heat \nCasino", lambda *_: 0.0)
    held = llm.restricted(TITLES, 3)
    prompts = [Prompt("", "a")] * 3
    answers = dict(held.complete(prompts, Sampling(), [0] * 3, lambda row: [["Casino"], [], TITLES][row]))
    assert [answer.text for answer in answers.values()] == [
        "Heat\nHeat 2\nToy Story",
        "Casino\nHeat\nHeat 2",
        "",
    ]
    [(_, cut)] = held.complete(prompts[:1], Sampling(max_tokens=3), [0], lambda _: ())
    assert cut == Completion("Casino\nHeat\nHeat", "length", 3)
    busy = Scripted(lambda *_: Completion("busy", "error", 0), lambda *_: 0.0).restricted(TITLES, 3)
    assert dict(busy.complete(prompts[:1], Sampling(), [0], some)) == {0: Completion("busy", "error", 0)}
