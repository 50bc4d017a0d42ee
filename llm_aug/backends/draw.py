"""One draw per row from its next-token distribution, by noise that belongs to the row's seed, step and token."""

from __future__ import annotations

import torch
from torch import Tensor

from llm_aug.data import Sampling

NOT_FINITE = -1
FEW = 64  # tokens that mostly hold the whole nucleus: finding them costs a tenth of sorting a vocabulary
SMALL = 8192  # tokens of a vocabulary that is drawn from as a whole sooner than its FEW are found


def next_tokens(logits: Tensor, sampling: Sampling, keys: Tensor, steps: Tensor) -> Tensor:
    """One token per row [rows] from float32 logits [rows, vocabulary]; NOT_FINITE for a row without a distribution.

    keys, steps: [rows], each row's seed and how many tokens it has drawn. argmax(p / e) with exponential e is a draw
    from p (the Gumbel-max trick without its logarithms). Of all ways to draw from fixed noise it changes its mind
    least when p moves by a rounding error, which other batch shapes bring about.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1).masked_fill(~logits.logsumexp(-1).isfinite(), NOT_FINITE)
    p = (logits / sampling.temperature).softmax(-1)
    broken = p.sum(-1).isnan()
    p.masked_fill_(broken[:, None], 1.0)
    if p.shape[-1] <= SMALL:
        return _first_of_nucleus(p, sampling.top_p, keys, steps).masked_fill(broken, NOT_FINITE)
    best, order = p.topk(FEW)
    tokens = _first_of(best.masked_fill(_outside(best, sampling.top_p), 0.0), keys, steps, order)
    wide = (best.sum(-1) < sampling.top_p).nonzero()[:, 0] if sampling.top_p < 1 else torch.arange(len(p))
    if len(wide):
        tokens[wide] = _first_of_nucleus(p[wide], sampling.top_p, keys[wide], steps[wide])
    return tokens.masked_fill(broken, NOT_FINITE)


def _outside(best: Tensor, top_p: float) -> Tensor:
    """Tokens, in falling order of p, after the one with which the sum crosses top_p."""
    outside = best.cumsum(-1) - best >= top_p
    outside[:, 0] = False
    return outside


def _first_of(p: Tensor, keys: Tensor, steps: Tensor, tokens: Tensor) -> Tensor:
    race = p / exponential(keys, steps, tokens)
    return tokens.gather(-1, race.argmax(-1, keepdim=True))[:, 0]


def _first_of_nucleus(p: Tensor, top_p: float, keys: Tensor, steps: Tensor) -> Tensor:
    """As `_first_of` over the nucleus of the whole vocabulary, without sorting it: whoever wins the race is in or out.

    A token is in the nucleus where the tokens likelier than it sum to less than top_p; where the winner is not, he and
    all who are no likelier leave the race. At top_p .95 this takes some two rounds.
    """
    vocabulary = torch.arange(p.shape[-1], device=p.device).expand_as(p)
    race = p / exponential(keys, steps, vocabulary)
    if top_p >= 1:
        return race.argmax(-1)
    while True:
        winners = race.argmax(-1, keepdim=True)
        chance = p.gather(-1, winners)
        above = torch.where(p > chance, p, 0.0).sum(-1, keepdim=True)
        out = above >= top_p
        if not bool(out.any()):
            return winners[:, 0]
        race.masked_fill_(out & (p <= chance), 0.0)


def exponential(keys: Tensor, steps: Tensor, tokens: Tensor) -> Tensor:
    """Exponential noise for tokens [rows, n], a function of (key, step, token): equal on every device, in every batch.

    The uniform numbers are 23 bits of a hash: (key, step) go through the finaliser of SplitMix64 (Steele, Lea, Flood
    2014), whose halves enter a 32-bit finaliser of the token, one before and one amid its multiplications: hashing a
    vocabulary must cost less than the model.
    """
    rows = _mix(_mix(keys) + steps)[:, None]
    hashed = (tokens.int() + 1) * _signed(0x9E3779B9, 32) + rows.int()
    for bits, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        hashed ^= (hashed >> bits) & ((1 << (32 - bits)) - 1)
        hashed *= _signed(factor, 32)
        hashed ^= (rows >> 32).int()
    hashed ^= (hashed >> 16) & 0xFFFF
    uniform = ((hashed >> 9) & 0x7FFFFF).float().add_(0.5).mul_(2.0**-23)
    return uniform.log_().neg_()


def _signed(constant: int, bits: int) -> int:
    return constant - (1 << bits) if constant >> (bits - 1) else constant


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9, 64)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB, 64)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """A logical right shift: torch's is arithmetic."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
