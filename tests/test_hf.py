"""One contract for every architecture: rows do not depend on their batch, scores equal a plain forward pass."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ARCHITECTURES, WORDS

from llm_aug.backends import completed, load_llm
from llm_aug.backends import decode as decode_module
from llm_aug.backends.hf import HF
from llm_aug.backends.rendering import Rendering
from llm_aug.backends.repeats import runs
from llm_aug.backends.states import CausalState
from llm_aug.data import Prompt, Sampling
from llm_aug.errors import InputError

Folder = Callable[..., Path]
HISTORY = "Liked: Toy Story, Jumanji, Heat, Casino, Sabrina, Jumanji again, Heat again and Toy Story again."
JUDGED = [Prompt("Answer yes or no.", f"{HISTORY}\nNew: {item}") for item in ("Heat", "Toy Story", "Casino, 1995")]
MIXED = [Prompt("Be brief.", " ".join(WORDS.split()[: 3 * n])) for n in range(1, 17)]


@pytest.fixture(params=ARCHITECTURES)
def llm(request: pytest.FixtureRequest, model_folder: Folder) -> HF:
    return loaded(model_folder(request.param))


@pytest.fixture
def llama(model_folder: Folder) -> HF:
    return loaded(model_folder("llama"))


def loaded(folder: Path, **options: Any) -> HF:
    llm = load_llm(str(folder), device="cpu", **options)
    assert isinstance(llm, HF)
    return llm


def plain_score(llm: HF, prompt: Prompt, continuation: str) -> float:
    """One row, one forward pass, no cache, no padding."""
    model, rendering = llm.engine.model, llm.engine.rendering
    [asked], answer = rendering.prompt_ids([prompt]), rendering.answer_ids(continuation)
    with torch.no_grad():
        if rendering.seq2seq:
            decoder = torch.tensor([[*llm.engine.decoder_start, *answer[:-1]]])
            logits = model(input_ids=torch.tensor([asked]), decoder_input_ids=decoder).logits[0]
        else:
            logits = model(torch.tensor([asked + answer])).logits[0, len(asked) - 1 : -1]
    return float(logits.log_softmax(-1)[range(len(answer)), answer].sum())


@pytest.mark.parametrize(
    "sampling",
    [Sampling(0.0, 1.0, 10), Sampling(1.0, 0.9, 10), Sampling(0.0, 1.0, 10, 2)],
    ids=["greedy", "sampled", "once"],
)
def test_text_does_not_depend_on_batch_size_or_order(llm: HF, sampling: Sampling) -> None:
    prompts, seeds = MIXED * 4, list(range(64))
    alone = [completed(llm, [prompt], sampling, [seed])[0] for prompt, seed in zip(prompts, seeds, strict=True)]
    for tokens in (400, 8192):
        llm.engine.budget.tokens = tokens
        assert completed(llm, prompts, sampling, seeds) == alone
        assert completed(llm, prompts[::-1], sampling, seeds[::-1])[::-1] == alone


def test_seed_decides_the_text(llm: HF) -> None:
    answers = completed(llm, MIXED[:1] * 3, Sampling(1.0, 1.0, 10), [1, 2, 1])
    assert answers[0] == answers[2] != answers[1]


def test_greedy_equals_generate(llm: HF) -> None:
    [ids] = llm.engine.rendering.prompt_ids(MIXED[3:4])
    expected = llm.engine.model.generate(
        torch.tensor([ids]), do_sample=False, max_new_tokens=8, attention_mask=torch.ones(1, len(ids), dtype=torch.long)
    )[0]
    new = expected[1:] if llm.engine.seq2seq else expected[len(ids) :]
    assert completed(llm, MIXED[3:4], Sampling(0.0, 1.0, 8), [0])[0].text == llm.engine.rendering.answer_text(new)


def test_no_run_is_written_more_often_than_the_prompt_has_it(llm: HF, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm.engine.rendering, "answer_text", lambda ids: " ".join(map(str, ids)))
    prompts = llm.engine.rendering.prompt_ids(MIXED)

    def too_often(size: int) -> list[tuple[int, ...]]:
        answers = completed(llm, MIXED, Sampling(0.0, 1.0, 40, size), [0] * len(MIXED))
        found = []
        for prompt, answer in zip(prompts, answers, strict=True):
            known, said = Counter(runs(prompt, 2)), Counter(runs([*map(int, answer.text.split())], 2))
            found += [run for run, count in said.items() if count > max(1, known[run])]
        return found

    assert too_often(0)
    assert not too_often(2)


def test_finish_says_whether_the_model_ended(llm: HF) -> None:
    cut = completed(llm, MIXED[:1], Sampling(0.0, 1.0, 3), [0])[0]
    assert (cut.finish, cut.n_tokens) == ("length", 3)
    tokens = llm.engine.rendering.prompt_ids(MIXED[:1])
    first = int(llm.engine.read(tokens)[1].argmax())
    llm.engine = dataclasses.replace(llm.engine, rendering=_ending_at(llm.engine.rendering, first))
    ended = completed(llm, MIXED[:1], Sampling(0.0, 1.0, 3), [0])[0]
    assert (ended.text, ended.finish, ended.n_tokens) == ("", "stop", 0)


def _ending_at(rendering: Rendering, token: int) -> Rendering:
    rendering.ends = frozenset({token})
    return rendering


def test_nothing_asked_nothing_answered(llm: HF) -> None:
    assert completed(llm, [], Sampling(), []) == []
    assert llm.score([], ["yes", "no"]).sums.shape == (0, 2)
    assert llm.score(JUDGED, []).sums.shape == (3, 0)


def test_a_prompt_that_cannot_be_run_fails_alone(model_folder: Folder) -> None:
    llm = loaded(model_folder("llama", positions=128))
    prompts = [MIXED[0], Prompt("", "toy " * 200), Prompt("", "lone \ud800 surrogate"), MIXED[1]]
    answers = completed(llm, prompts, Sampling(0.0, 1.0, 4), [0] * 4)
    assert [answer.finish for answer in answers] == ["length", "error", "error", "length"]
    assert "model has room for 128" in answers[1].text
    assert "no valid Unicode" in answers[2].text
    assert answers[0] == completed(llm, prompts[:1], Sampling(0.0, 1.0, 4), [0])[0]
    assert np.isnan(llm.score(prompts, ["yes"]).sums[:, 0]).tolist() == [False, True, True, False]


def test_a_prompt_that_just_fits_is_run(model_folder: Folder) -> None:
    llm = loaded(model_folder("gpt2", positions=128))
    [ids] = llm.engine.rendering.prompt_ids(MIXED[:1])
    room = 128 - len(ids)
    finishes = [completed(llm, MIXED[:1], Sampling(0.0, 1.0, n), [0])[0].finish for n in (room, room + 1)]
    assert finishes == ["length", "error"]


def test_score_equals_a_plain_forward_pass(llm: HF) -> None:
    prompts, continuations = [*JUDGED, *MIXED], ["yes", "no", "Toy Story, 1995"]
    expected = [[plain_score(llm, prompt, ending) for ending in continuations] for prompt in prompts]
    np.testing.assert_allclose(llm.score(prompts, continuations).sums, expected, atol=1e-3)
    llm.engine.budget.tokens = 150
    np.testing.assert_allclose(llm.score(prompts[::-1], continuations).sums[::-1], expected, atol=1e-3)


def test_many_continuations_of_every_length_are_scored_alike(llm: HF) -> None:
    continuations = [
        "yes",
        "no, never",
        "Toy Story",
        "Toy Story, Jumanji and Heat",
        "Sabrina, Casino",
        "a doll is jealous",
    ]
    expected = [[plain_score(llm, prompt, ending) for ending in continuations] for prompt in JUDGED]
    np.testing.assert_allclose(llm.score(JUDGED, continuations).sums, expected, atol=1e-3)
    llm.engine.budget.tokens = 1
    np.testing.assert_allclose(llm.score(JUDGED, continuations).sums, expected, atol=1e-3)
    scores = llm.score(JUDGED, continuations)
    np.testing.assert_allclose(scores.means[:, 0], scores.sums[:, 0] / scores.tokens[0])


def test_a_shared_history_is_read_once(llama: HF, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    forward = llama.engine.model.forward
    monkeypatch.setattr(
        llama.engine.model, "forward", lambda **inputs: read.append(inputs["input_ids"].numel()) or forward(**inputs)
    )
    monkeypatch.setattr("llm_aug.backends.states.forward_parameters", lambda _: {"position_ids", "logits_to_keep"})
    many = [Prompt("", f"{HISTORY}\nNew: {word}") for word in WORDS.split()[:40]]
    shared = llama.score(many, ["yes"]).sums
    with_sharing, read[:] = sum(read), []
    llama.engine = dataclasses.replace(llama.engine, shares_prefixes=False)
    np.testing.assert_allclose(shared, llama.score(many, ["yes"]).sums, atol=1e-3)
    assert with_sharing * 3 < sum(read)


def test_a_continuation_without_tokens_is_refused(llama: HF) -> None:
    with pytest.raises(InputError, match="no tokens"):
        llama.score(MIXED[:1], ["yes", ""])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
    ids=lambda error: str(error)[:24] or type(error).__name__,
)
def test_memory_errors_shrink_the_batch_and_lose_no_row(
    llama: HF, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """More than four rows are too many, and the longest prompt is too long even alone."""
    sampling, longest = Sampling(0.0, 1.0, 4), max(map(len, llama.engine.rendering.prompt_ids(MIXED)))
    expected = completed(llama, MIXED, sampling, [0] * 16)
    sizes: list[int] = []
    read_prompts = decode_module.read_prompts

    def short_of_memory(engine: Any, prompts: list[list[int]], rows: list[int]) -> Any:
        sizes.append(len(rows))
        if len(rows) > 4 or max(len(prompts[row]) for row in rows) == longest:
            raise error
        return read_prompts(engine, prompts, rows)

    monkeypatch.setattr(decode_module, "read_prompts", short_of_memory)
    answers = completed(llama, MIXED, sampling, [0] * 16)
    assert answers[:15] == expected[:15]
    assert (answers[15].finish, "no memory" in answers[15].text) == ("error", True)
    sizes.clear()
    assert completed(llama, MIXED[:15], sampling, [0] * 15) == expected[:15]
    assert sizes[0] <= 4, "what did not fit is forgotten"


def test_memory_that_runs_out_while_decoding_begins_the_rows_anew(llama: HF, monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = Sampling(1.0, 0.9, 12)
    expected = completed(llama, MIXED, sampling, list(range(16)))
    extend, seen = CausalState.extend, []

    def short_of_memory(state: CausalState, tokens: torch.Tensor) -> torch.Tensor:
        seen.append(len(tokens))
        if len(tokens) > 3 and len(seen) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return extend(state, tokens)

    monkeypatch.setattr(CausalState, "extend", short_of_memory)
    assert completed(llama, MIXED, sampling, list(range(16))) == expected
    assert max(seen[:5]) > 3 >= seen[-1]


def test_memory_that_runs_out_just_as_a_row_ends_loses_neither(llama: HF, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends in a step is told even if the step cannot be finished, and is not asked again."""
    llama.engine.rendering.ends = frozenset(range(0, 400, 6))
    prompts, keys, sampling = MIXED * 3, list(range(48)), Sampling(1.0, 1.0, 30)
    expected = completed(llama, prompts, sampling, keys)
    assert len({answer.n_tokens for answer in expected}) > 5
    extend, before, failures = CausalState.extend, [0], []

    def short_of_memory(state: CausalState, tokens: torch.Tensor) -> torch.Tensor:
        fewer, before[0] = len(tokens) < before[0], len(tokens)
        if fewer and len(tokens) > 1 and len(failures) < 12:
            failures.append(len(tokens))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return extend(state, tokens)

    monkeypatch.setattr(CausalState, "extend", short_of_memory)
    told = list(llama.complete(prompts, sampling, keys))
    assert len(failures) > 3
    assert sorted(row for row, _ in told) == list(range(48))
    assert [answer for _, answer in sorted(told, key=lambda pair: pair[0])] == expected


def test_bfloat16_scores_stay_near(model_folder: Folder) -> None:
    exact, rounded = (loaded(model_folder("llama"), dtype=dtype) for dtype in ("float32", "bfloat16"))
    np.testing.assert_allclose(rounded.score(JUDGED, ["yes"]).sums, exact.score(JUDGED, ["yes"]).sums, atol=0.5)
