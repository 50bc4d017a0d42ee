"""What the students that learn by gradient descent share: a start, dropout and the loop, on one process or several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch import distributed

from llm_aug import processes

Loss = Callable[[torch.Tensor], torch.Tensor]
Mass = Callable[[torch.Tensor], float]


class Schedule(Protocol):
    """The options that the loop reads. batch_size: examples in a step, on all processes together."""

    @property
    def epochs(self) -> int: ...

    @property
    def batch_size(self) -> int: ...


def projection(rows: int, columns: int, generator: torch.Generator) -> torch.nn.Parameter:
    """[rows, columns], normal with variance 1 / rows, so that x @ projection keeps the scale of x."""
    return torch.nn.Parameter(torch.randn(rows, columns, generator=generator) / rows**0.5)


def dropout(values: torch.Tensor, rate: float, generator: torch.Generator) -> torch.Tensor:
    """As torch's, with draws of the generator given."""
    kept = torch.rand(values.shape, generator=generator) >= rate
    return values * kept / (1 - rate)


class Paced(Schedule, Protocol):
    @property
    def learning_rate(self) -> float: ...


def minimise(
    loss: Loss,
    parameters: Iterable[torch.nn.Parameter],
    examples: int,
    schedule: Paced,
    generator: torch.Generator,
    weight_decay: float = 1e-5,
    mass: Mass = len,
) -> None:
    """As `descend`, by AdamW at a one-cycle learning rate (Smith 2018)."""
    steps = schedule.epochs * -(-examples // schedule.batch_size)
    optimizer = torch.optim.AdamW(parameters, lr=schedule.learning_rate, weight_decay=weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.learning_rate, total_steps=max(steps, 2))
    descend(loss, optimizer, examples, schedule, generator, mass, cycle.step)


def descend(
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    examples: int,
    schedule: Schedule,
    generator: torch.Generator,
    mass: Mass = len,
    after: Callable[[], None] = lambda: None,
) -> None:
    """The optimizer's steps on loss(batch), a mean over the batch, which is of positions below `examples`.

    Of several processes each takes its rows of every batch, and the mean of their gradients by mass is the batch's;
    mass: the sum of the weights of the mean. What the generator draws inside a step is each process's own.
    """
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    count, rank = processes.count(), processes.rank()
    for _ in range(schedule.epochs):
        _agree(generator)
        for batch in torch.randperm(examples, generator=generator).split(schedule.batch_size):  # type: ignore[no-untyped-call]
            own = batch[rank::count]
            optimizer.zero_grad()
            if len(own):
                loss(own).backward()  # type: ignore[no-untyped-call]
            _average(parameters, own, batch, mass)
            optimizer.step()
            after()


def _agree(generator: torch.Generator) -> None:
    """All processes draw from here on what the first one draws."""
    if processes.count() > 1:
        if not distributed.is_initialized():
            distributed.init_process_group("gloo")
        state = generator.get_state()
        distributed.broadcast(state, 0)
        generator.set_state(state)


def _average(parameters: Sequence[torch.nn.Parameter], own: torch.Tensor, batch: torch.Tensor, mass: Mass) -> None:
    """own: this process's rows of the batch."""
    if processes.count() > 1:
        share = mass(own) / max(mass(batch), 1e-6)
        for one in parameters:
            one.grad = torch.zeros_like(one) if one.grad is None else one.grad * share
            distributed.all_reduce(one.grad)
