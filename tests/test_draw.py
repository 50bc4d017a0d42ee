"""Draws follow the distribution and depend on seed, step and token alone."""

from __future__ import annotations

import pytest
import torch

from llm_aug.backends.draw import FEW, SMALL, exponential, next_tokens
from llm_aug.data import Sampling


def steps(keys: torch.Tensor, step: int = 0) -> torch.Tensor:
    return torch.full_like(keys, step)


def test_noise_belongs_to_seed_step_and_token() -> None:
    keys = torch.tensor([3, 5, 3])
    tokens = torch.arange(400).expand(3, -1)
    noise = exponential(keys, steps(keys, 7), tokens)
    assert torch.equal(noise[0], noise[2])
    assert torch.equal(exponential(keys[1:2], torch.tensor([7]), tokens[1:2, 50:100])[0], noise[1, 50:100])
    assert not torch.equal(exponential(keys, steps(keys, 8), tokens)[0], noise[0])
    many = torch.arange(200)
    assert float(exponential(many, steps(many), torch.arange(1000).expand(200, -1)).mean()) == pytest.approx(
        1, abs=0.01
    )


def drawn(p: torch.Tensor, temperature: float, top_p: float, rows: int = 20_000) -> torch.Tensor:
    """Shares of the tokens among the draws of so many seeds."""
    keys = torch.arange(rows)
    logits = p.log().expand(rows, -1)
    tokens = next_tokens(logits, Sampling(temperature, top_p, 1), keys, steps(keys))
    return torch.bincount(tokens, minlength=len(p)) / rows


def test_draws_follow_the_distribution() -> None:
    p = torch.tensor([0.5, 0.3, 0.15, 0.05])
    torch.testing.assert_close(drawn(p, 1.0, 1.0), p, atol=0.012, rtol=0)
    # 0.5 + 0.3 crosses 0.7, so two tokens are left; temperature 2 takes square roots before that.
    torch.testing.assert_close(drawn(p, 1.0, 0.7), torch.tensor([0.625, 0.375, 0, 0]), atol=0.012, rtol=0)
    torch.testing.assert_close(drawn(p, 2.0, 1.0), p.sqrt() / p.sqrt().sum(), atol=0.012, rtol=0)


@pytest.mark.parametrize("small", [0, SMALL], ids=["few first", "whole at once"])
def test_a_nucleus_wider_than_the_few_is_drawn_from_the_whole_vocabulary(
    monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    monkeypatch.setattr("llm_aug.backends.draw.SMALL", small)
    p = torch.linspace(3, 1, 5 * FEW)
    p = p / p.sum()
    inside = p.cumsum(0) - p < 0.8
    assert int(inside.sum()) > 2 * FEW
    shares = drawn(p, 1.0, 0.8, rows=40_000)
    assert float(shares[~inside].sum()) == 0
    torch.testing.assert_close(shares[inside], (p[inside] / p[inside].sum()), atol=0.0015, rtol=0)
    torch.testing.assert_close(drawn(p, 1.0, 1.0, rows=40_000), p, atol=0.0015, rtol=0)


def test_the_few_and_the_whole_vocabulary_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits, keys = torch.randn(200, 3 * FEW) * 2.5, torch.arange(200)
    whole = next_tokens(logits, Sampling(1.0, 0.9, 1), keys, steps(keys))
    monkeypatch.setattr("llm_aug.backends.draw.SMALL", 0)
    assert torch.equal(next_tokens(logits, Sampling(1.0, 0.9, 1), keys, steps(keys)), whole)


@pytest.mark.parametrize("sampling", [Sampling(0.0, 1.0, 1), Sampling(0.8, 0.9, 1), Sampling(1.0, 1.0, 1)])
def test_a_row_without_a_distribution_fails_alone(sampling: Sampling) -> None:
    logits = torch.tensor([[0.0, 99.0], [float("nan"), 1.0]])
    keys = torch.tensor([0, 1])
    assert next_tokens(logits, sampling, keys, steps(keys)).tolist() == [1, -1]
