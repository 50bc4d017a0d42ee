"""Draws follow the distribution and depend on seed, step and token alone."""

from __future__ import annotations

import pytest
import torch

from llm_aug.backends.decode import gumbel, next_tokens, nucleus
from llm_aug.data import Sampling


def test_gumbel_noise_belongs_to_seed_step_and_token() -> None:
    keys = torch.tensor([3, 5, 3])
    noise = gumbel(keys, 7, 400)
    assert torch.equal(noise[0], noise[2])
    assert torch.equal(gumbel(keys[1:2], 7, 100)[0], noise[1, :100])
    assert not torch.equal(gumbel(keys, 8, 400)[0], noise[0])
    assert float(gumbel(torch.arange(200), 0, 1000).mean()) == pytest.approx(0.5772, abs=0.01)


def test_draws_follow_the_distribution() -> None:
    p = torch.tensor([0.5, 0.3, 0.15, 0.05])
    keys = torch.arange(20_000)
    logits = p.log().expand(len(keys), -1)
    drawn = torch.bincount(next_tokens(logits, Sampling(1.0, 1.0, 1), keys, 0), minlength=4) / len(keys)
    torch.testing.assert_close(drawn, p, atol=0.012, rtol=0)
    # 0.5 + 0.3 crosses 0.7, so two tokens are left; temperature 2 takes square roots before that.
    drawn = torch.bincount(next_tokens(logits, Sampling(1.0, 0.7, 1), keys, 0), minlength=4) / len(keys)
    torch.testing.assert_close(drawn, torch.tensor([0.625, 0.375, 0, 0]), atol=0.012, rtol=0)
    drawn = torch.bincount(next_tokens(logits, Sampling(2.0, 1.0, 1), keys, 0), minlength=4) / len(keys)
    torch.testing.assert_close(drawn, p.sqrt() / p.sqrt().sum(), atol=0.012, rtol=0)


def test_nucleus_of_a_flat_row_is_found_beyond_the_first_tokens() -> None:
    kept, order = nucleus(torch.zeros(1, 3000), 0.5)
    assert int(kept.isfinite().sum()) == pytest.approx(1500, abs=1)
    assert order.shape[1] >= 1500


def test_a_row_without_a_distribution_fails_alone() -> None:
    logits = torch.tensor([[0.0, 9.0], [float("nan"), 1.0]])
    assert next_tokens(logits, Sampling(0.0, 1.0, 1), torch.tensor([0, 1]), 0).tolist() == [1, -1]
