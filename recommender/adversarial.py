"""Adversarial training: a loss at the embeddings plus the same loss where a small step away hurts most.

APR (He et al. 2018): Delta = epsilon * g / |g|, g the gradient of the loss (the fast gradient method of Goodfellow et
al. 2015), each row of an embedding by itself; Delta is held fixed when the sum of both losses is minimised. A penalty
on the embeddings is none of the loss: it would turn the step towards longer vectors, and counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

import torch
from torch.nn.functional import normalize

from llm_aug.errors import InputError


def worst(value: torch.Tensor, embeddings: Sequence[torch.Tensor], epsilon: float) -> list[torch.Tensor]:
    """For each embedding the step of length epsilon per row that raises the value fastest; zero where it is flat."""
    gradients = torch.autograd.grad(value, embeddings, retain_graph=True)
    return [epsilon * normalize(gradient, dim=1) for gradient in gradients]


def robust(
    value: torch.Tensor, loss: Callable[..., torch.Tensor], embeddings: Sequence[torch.Tensor], epsilon: float
) -> torch.Tensor:
    """value, and where epsilon is not 0 loss(*embeddings moved by the worst steps) added to it.

    value: the loss at the embeddings, [rows, dimensions] each, and nothing else that follows them. loss: where it draws
    random numbers, it draws them anew. Raises InputError for an epsilon that is negative or not finite.
    """
    if epsilon == 0:
        return value
    if not (isfinite(epsilon) and epsilon > 0):
        raise InputError(f"adversarial is the length of a step, finite and at least 0, not {epsilon}")
    steps = worst(value, embeddings, epsilon)
    return value + loss(*(embedding + step for embedding, step in zip(embeddings, steps, strict=True)))
