"""The options that the autoencoders of user rows and of attribute values have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from llm_aug.errors import InputError


@dataclass(frozen=True)
class VAEOptions:
    """beta: weight of the divergence, reached by a straight line in the first half of the steps. draws: of each user's
    latent vector, over which probabilities are the mean. users_with_at_most: items of a user whose history is extended
    where nothing else tells whose; a stage is told by samples to go by, or by the options of `history`. attributes:
    columns to fill; None is those with a closed set of values. Raises InputError for a number that cannot be."""

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

    def __post_init__(self) -> None:
        counts = self.hidden, self.latent, self.epochs, self.batch_size, self.draws
        shares = self.beta, self.weight_decay, self.users_with_at_most
        within = 0 <= self.input_dropout < 1 and 0 < self.learning_rate < inf
        if min(counts) < 1 or not within or not all(0 <= share < inf for share in shares):
            raise InputError(
                "vae: hidden, latent, epochs, batch_size and draws are at least 1, beta, weight_decay and "
                "users_with_at_most at least 0, input_dropout lies in [0, 1), learning_rate is above 0, and all are "
                f"finite, not {self}"
            )
