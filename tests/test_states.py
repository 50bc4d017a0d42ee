"""Rows that leave, join or branch are told the same as if each were read alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from llm_aug.backends import LoadOptions, attention
from llm_aug.backends.loading import Engine, load_engine
from llm_aug.backends.states import CausalState

ROWS = [[7, 8, 9, 10, 11, 12, 13], [20, 21], [30, 31, 32, 33], [40, 41, 42], [50, 51, 52, 53, 54]]


@pytest.fixture(params=["llama", "qwen2", "gpt2"])
def engine(request: pytest.FixtureRequest, model_folder: Callable[..., Path]) -> Engine:
    return load_engine(str(model_folder(request.param)), LoadOptions(device="cpu"))


@torch.inference_mode()
def alone(engine: Engine, row: Sequence[int]) -> Tensor:
    """The logits after this row, by one plain forward pass."""
    return engine.model(torch.tensor([row])).logits[0, -1]


def check(engine: Engine, logits: Tensor, rows: Sequence[Sequence[int]]) -> None:
    torch.testing.assert_close(logits, torch.stack([alone(engine, row) for row in rows]), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def extended(state: CausalState, rows: list[list[int]], token: int) -> tuple[Tensor, list[list[int]]]:
    logits = state.extend(torch.full((len(rows), 1), token))[:, -1]
    return logits, [[*row, token] for row in rows]


@torch.inference_mode()
def test_rows_leave_and_others_join(engine: Engine) -> None:
    rows = ROWS[1:4]
    state, logits = engine.read(rows)
    assert isinstance(state, CausalState)
    assert state.joins
    check(engine, logits, rows)
    logits, rows = extended(state, rows, 60)
    order = state.keep([1, 2])
    assert sorted(order) == [1, 2]
    rows = [rows[place] for place in order]
    for new in ([ROWS[0], ROWS[4]], [ROWS[1]]):  # first longer ones than there are, then a shorter one
        other, fresh = engine.read(new)
        assert isinstance(other, CausalState)
        check(engine, fresh, new)
        state.join(other)
        rows = [*rows, *new]
        logits, rows = extended(state, rows, 61)
        check(engine, logits, rows)


@torch.inference_mode()
def test_many_steps_outgrow_every_reserve(engine: Engine) -> None:
    rows = ROWS[:2]
    state, _ = engine.read(rows)
    assert isinstance(state, CausalState)
    for step in range(200):
        logits, rows = extended(state, rows, 60 + step % 7)
    check(engine, logits, rows)
    assert state.keep([1]) == [1]
    logits, rows = extended(state, rows[1:], 70)
    check(engine, logits, rows)


@torch.inference_mode()
def test_a_branch_leaves_the_trunk_as_it_is(engine: Engine) -> None:
    state, _ = engine.read(ROWS[:2])
    assert isinstance(state, CausalState)
    twice = [ROWS[1], ROWS[0], ROWS[1]]
    logits, rows = extended(state.branch([1, 0, 1]), [list(row) for row in twice], 80)
    check(engine, logits, rows)
    logits, rows = extended(state, [list(row) for row in ROWS[:2]], 81)
    check(engine, logits, rows)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_of_one_token_equals_the_fused_kernel(key_heads: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    query = torch.randn(3, 4, 1, 8, dtype=dtype)
    key, value = (torch.randn(3, key_heads, 40, 8, dtype=dtype)[:, :, :30] for _ in range(2))
    mask = torch.ones(3, 1, 1, 30, dtype=torch.bool)
    mask[1, ..., :12] = False
    bias = torch.zeros(3, 1, 1, 30, dtype=dtype).masked_fill(~mask, -1e4)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, enable_gqa=True)
    for seen in (mask, bias):
        found, _ = attention.attend(None, query, key, value, seen)
        tolerance = 1e-5 if dtype == torch.float32 else 2e-2
        torch.testing.assert_close(found, expected.transpose(1, 2), atol=tolerance, rtol=tolerance)
