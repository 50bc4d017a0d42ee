"""What the students that learn by gradient descent share: a start, dropout and the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import torch


class Schedule(Protocol):
    """The options that the loop reads. batch_size: examples in a step."""

    epochs: int
    batch_size: int
    learning_rate: float


def projection(rows: int, columns: int, generator: torch.Generator) -> torch.nn.Parameter:
    """[rows, columns], normal with variance 1 / rows, so that x @ projection keeps the scale of x."""
    return torch.nn.Parameter(torch.randn(rows, columns, generator=generator) / rows**0.5)


def dropout(values: torch.Tensor, rate: float, generator: torch.Generator) -> torch.Tensor:
    """As torch's, with draws of the generator given."""
    kept = torch.rand(values.shape, generator=generator) >= rate
    return values * kept / (1 - rate)


def minimise(
    loss: Callable[[torch.Tensor], torch.Tensor],
    parameters: Iterable[torch.nn.Parameter],
    examples: int,
    schedule: Schedule,
    generator: torch.Generator,
    weight_decay: float = 1e-5,
) -> None:
    """AdamW on loss(batch), batch being positions below `examples`, at a one-cycle learning rate (Smith 2018)."""
    steps = schedule.epochs * -(-examples // schedule.batch_size)
    optimizer = torch.optim.AdamW(parameters, lr=schedule.learning_rate, weight_decay=weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.learning_rate, total_steps=max(steps, 2))
    for _ in range(schedule.epochs):
        for batch in torch.randperm(examples, generator=generator).split(schedule.batch_size):  # type: ignore[no-untyped-call]
            value = loss(batch)
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            cycle.step()
