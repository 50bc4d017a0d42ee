"""The sampling loop: every row draws its own noise, so that its text does not depend on its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from llm_aug.backends.loading import Engine
from llm_aug.data import Completion, Sampling

Finish = Literal["stop", "length", "error"]


@torch.inference_mode()
def decode(
    engine: Engine, prompts: Sequence[Sequence[int]], sampling: Sampling, seeds: Sequence[int]
) -> list[Completion]:
    """Completes one batch of tokenised prompts; a row that has ended leaves the batch and the cache."""
    written: list[list[int]] = [[] for _ in prompts]
    finish: list[Finish] = ["length"] * len(prompts)
    state, logits = engine.read(prompts)
    rows = list(range(len(prompts)))
    keys = torch.tensor(list(seeds), dtype=torch.long, device=logits.device)
    for step in range(sampling.max_tokens):
        tokens = next_tokens(logits, sampling, keys, step)
        going = []
        for place, (row, token) in enumerate(zip(rows, tokens.tolist(), strict=True)):
            if token in engine.rendering.ends or token == NOT_FINITE:
                finish[row] = "error" if token == NOT_FINITE else "stop"
            else:
                written[row].append(token)
                going.append(place)
        if not going or step + 1 == sampling.max_tokens:
            break
        if len(going) < len(rows):
            keep = torch.tensor(going, device=tokens.device)
            state.select(keep)
            tokens, keys, rows = tokens[keep], keys[keep], [rows[place] for place in going]
        logits = state.extend(tokens[:, None])[:, -1]
    return [_completion(engine, ids, end) for ids, end in zip(written, finish, strict=True)]


def _completion(engine: Engine, ids: list[int], finish: Finish) -> Completion:
    if finish == "error":
        return Completion("the model's logits are not finite; choose another dtype", "error", len(ids))
    return Completion(engine.rendering.answer_text(ids), finish, len(ids))


NOT_FINITE = -1


def next_tokens(logits: Tensor, sampling: Sampling, keys: Tensor, step: int) -> Tensor:
    """One token per row [rows] from float32 logits [rows, vocabulary]; NOT_FINITE for a row without a distribution.

    Gumbel-max: argmax(log p + g) is a draw from p. Of all ways to draw from fixed noise it changes its mind least
    when p moves by a rounding error, which other batch shapes bring about.
    """
    broken = ~logits.logsumexp(-1).isfinite()
    if sampling.temperature == 0:
        return logits.argmax(-1).masked_fill(broken, NOT_FINITE)
    logits = logits / sampling.temperature
    noise = gumbel(keys, step, logits.shape[-1])
    if sampling.top_p < 1:
        kept, order = nucleus(logits, sampling.top_p)
        tokens = order.gather(-1, (kept + noise.gather(-1, order)).argmax(-1, keepdim=True))[:, 0]
    else:
        tokens = (logits + noise).argmax(-1)
    return tokens.masked_fill(broken, NOT_FINITE)


def nucleus(logits: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The likeliest tokens up to and with the one that crosses top_p: their logits, -inf outside, and their ids.

    Both are [rows, n] with n as small as the flattest row allows: sorting a vocabulary costs more than a small model.
    """
    p = logits.softmax(-1)
    n = min(256, p.shape[-1])
    best, order = p.topk(n)
    while n < p.shape[-1] and bool((best.sum(-1) < top_p).any()):
        n = min(8 * n, p.shape[-1])
        best, order = p.topk(n)
    outside = best.cumsum(-1) - best >= top_p
    outside[:, 0] = False
    return logits.gather(-1, order).masked_fill(outside, -torch.inf), order


def gumbel(keys: Tensor, step: int, size: int) -> Tensor:
    """Gumbel noise [rows, size] that is a function of (key, step, token): equal on every device and in every batch.

    The uniform numbers are a hash by the finaliser of SplitMix64 (Steele, Lea, Flood 2014), 23 bits of it.
    """
    rows = _mix(_mix(keys) + step)
    hashed = _mix(rows[:, None] + torch.arange(1, size + 1, device=keys.device) * _GOLDEN)
    uniform = (((hashed >> 41) & 0x7FFFFF).float() + 0.5) * 2.0**-23
    return -torch.log(-torch.log(uniform))


def _signed(constant: int) -> int:
    return constant - (1 << 64)


_GOLDEN = _signed(0x9E3779B97F4A7C15)


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """A logical right shift: torch's is arithmetic."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
