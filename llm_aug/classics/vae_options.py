"""The options that the autoencoders of user rows and of attribute values have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class VAEOptions:
    """beta: weight of the divergence, reached by a straight line in the first half of the steps. draws: of each user's
    latent vector, over which probabilities are the mean. users_with_at_most: items of a user whose history is extended
    where nothing else tells whose. attributes: columns to fill; None is those with a closed set of values."""

    style: str = "interactions"
    hidden: int = 100
    latent: int = 32
    beta: float = 0.2
    input_dropout: float = 0.5
    weight_decay: float = 1e-2
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 5e-3
    draws: int = 8
    users_with_at_most: int = 5
    attributes: Sequence[str] | None = None
    device: str = "auto"
