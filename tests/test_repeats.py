"""Which tokens may not come again, against counting all runs anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from llm_aug.backends.repeats import Repeats, without


def barred(prompt: list[int], written: list[int], size: int, vocabulary: int) -> set[int]:
    """By the definition: what would make a run more frequent than in the prompt, and than once."""

    def times(run: list[int], text: list[int]) -> int:
        return sum(text[start : start + size] == run for start in range(len(text) - size + 1))

    ends = [[*written[len(written) - size + 1 :], token] for token in range(vocabulary)]
    if len(written) < size - 1:
        return set()
    return {run[-1] for run in ends if times(run, [*written, run[-1]]) > max(1, times(run, prompt))}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_what_is_barred_after_every_token(size: int) -> None:
    rng = np.random.default_rng(size)
    seen = 0
    for _ in range(20):
        prompt = rng.integers(0, 4, 12).tolist()
        repeats, written = Repeats(prompt, size), list[int]()
        for token in rng.integers(0, 4, 30).tolist():
            assert set(repeats.barred) == barred(prompt, written, size, 4)
            if token in repeats.barred:
                seen += 1
            else:
                repeats.write(token)
                written.append(token)
    assert seen > 50


def test_a_list_that_the_prompt_repeats_may_be_repeated_as_often() -> None:
    prompt = [7, 8, 9, 7, 8, 9]
    repeats = Repeats(prompt, 3)
    for token in [7, 8, 9, 7, 8]:
        assert token not in repeats.barred
        repeats.write(token)
    assert list(repeats.barred) == []
    repeats.write(9)
    for token in (7, 8):
        repeats.write(token)
    assert list(repeats.barred) == [9]


def test_only_the_barred_get_no_chance() -> None:
    fresh, again = Repeats([], 1), Repeats([], 1)
    for token in (2, 0):
        again.write(token)
    logits = torch.arange(6.0).reshape(2, 3)
    left = without(logits, [fresh, again])
    assert left.tolist() == [[0.0, 1.0, 2.0], [-torch.inf, 4.0, -torch.inf]]
    assert without(logits, [fresh, fresh]) is logits
