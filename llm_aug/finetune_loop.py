"""The training loop: step by step, each a function of (recipe, step number), so that a restart changes nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from datasets import Dataset

from llm_aug import checkpoint, seeds
from llm_aug.backends.loading import Engine
from llm_aug.backends.states import forward_parameters
from llm_aug.checkpoint import Progress, trainable
from llm_aug.finetune_options import FinetuneOptions
from llm_aug.finetune_rows import answer_loss, answer_weights, batch_plan, collate
from llm_aug.progress import Meter
from llm_aug.signals import Interrupted, deferred_interrupts
from llm_aug.watchdog import Watchdog


@dataclass(frozen=True)
class Run:
    """model: with its adapter, on the accelerator's device. engine: of the base model. key: of the recipe."""

    accelerator: Accelerator
    model: Any
    engine: Engine
    options: FinetuneOptions
    partial: Path
    key: str


def train(run: Run, rows: Dataset, validation: Dataset) -> dict[str, Any]:
    """Trains to the end or to the time limit. Raises Interrupted after a clean checkpoint, Resumable where it hangs."""
    options, accelerator = run.options, run.accelerator
    bare = torch.optim.AdamW(
        list(trainable(run.model).values()), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    progress = checkpoint.restore(run.partial, run.model, bare)
    resumed_from = progress.step
    model, optimizer = accelerator.prepare(run.model, bare)
    windows = Windows(rows, options, accelerator.num_processes)
    if progress.step == 0:
        progress.validation_before = mean_loss(run, validation)
    meter = _meter(run, windows.total, progress)
    watchdog = Watchdog(meter.stage, meter.told, options.stall_minutes and 60 * options.stall_minutes)
    share = done_share(progress, windows.total, options)
    stop = 0
    with deferred_interrupts() as caught, meter, watchdog:
        while share < 1:
            started = time.monotonic()
            rate = options.learning_rate * schedule(share, options.warmup_ratio)
            loss, tokens = take_step(run, model, optimizer, windows, rate, progress.step)
            progress.step += 1
            progress.tokens += tokens
            took, stop = agreed(accelerator, time.monotonic() - started, caught)
            progress.seconds += took
            progress.curve.append([progress.step, round(loss, 6)])
            share = done_share(progress, windows.total, options)
            meter.note = f"loss {loss:.3f}"
            meter.advance(1, tokens)
            watchdog.beat()
            if accelerator.is_main_process and (stop or share >= 1 or progress.step % options.save_steps == 0):
                checkpoint.save(run.partial, run.model, bare, progress, run.key)
            if stop:
                raise Interrupted(stop, f"{meter.stage}: {meter.told()}")
    return {
        "steps": progress.step,
        "curve": progress.curve,
        "validation_before": progress.validation_before,
        "validation_after": mean_loss(run, validation),
        "seconds": round(progress.seconds, 3),
        "tokens_per_second": round(progress.tokens / max(progress.seconds, 1e-9), 1),
        "resumed_from": resumed_from,
    }


def agreed(accelerator: Accelerator, seconds: float, caught: Sequence[int]) -> tuple[float, int]:
    """The longest step and a signal that any process caught, 0 where none did: all slow down and stop as one.

    Else one of them would take a step for which the others, at the end of their time, no longer come.
    """
    signal = caught[0] if caught else 0
    if accelerator.num_processes == 1:
        return seconds, signal
    told = accelerator.gather(torch.tensor([[seconds, float(signal)]], device=accelerator.device))
    longest, signal = told.max(0).values.tolist()
    return longest, int(signal)


def _meter(run: Run, total: int, progress: Progress) -> Meter:
    """Of the steps; told by the first process alone."""
    minutes = run.options.max_minutes
    left = None if minutes is None else max(0.0, 60 * minutes - progress.seconds)
    folder = run.partial if run.accelerator.is_main_process else None
    return Meter("fine-tuning", total, progress.step, folder, most_seconds=left)


class Windows:
    """The rows of each optimizer step: processes x gradient_accumulation_steps batches, the same on every process."""

    def __init__(self, rows: Dataset, options: FinetuneOptions, processes: int):
        self.rows = rows
        self.weights = answer_weights(rows)
        self.mean_weight = float(self.weights.sum()) / sum(map(len, rows["answer"]))
        self.lengths = [len(p) + len(a) for p, a in zip(rows["prompt"], rows["answer"], strict=True)]
        self.options = options
        self.size = processes * options.gradient_accumulation_steps
        batches = math.ceil(len(rows) / options.per_device_train_batch_size)
        self.per_epoch = math.ceil(batches / self.size)
        self._epoch = -1
        self._plan: list[list[int]] = []
        self.total = (
            options.max_steps if options.max_steps > 0 else math.ceil(options.num_train_epochs * self.per_epoch)
        )

    def batches(self, step: int) -> list[list[int]]:
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._plan = batch_plan(self.lengths, self.options.per_device_train_batch_size, self.options.seed, epoch)
            self._epoch = epoch
        return self._plan[place * self.size : (place + 1) * self.size]


def take_step(run: Run, model: Any, optimizer: Any, windows: Windows, rate: float, step: int) -> tuple[float, int]:
    """One optimizer step. Returns the mean loss per weighted answer token and the tokens read, over all processes.

    The mean is over the whole step, not a mean of batch means, so that accumulation does not change the gradient; and
    weights are relative to all rows, not to those of the step, or a batch of light rows would count like any other.
    """
    accelerator, rank = run.accelerator, run.accelerator.process_index
    torch.manual_seed(seeds.derive(run.options.seed, "finetune", "step", step, rank) % 2**32)
    for group in optimizer.param_groups:
        group["lr"] = rate
    accepted = forward_parameters(run.engine.model.__class__)
    batches = windows.batches(step)
    rows = [row for batch in batches for row in batch]
    total = windows.mean_weight * sum(len(windows.rows[row]["answer"]) for row in rows)
    mine = batches[rank :: accelerator.num_processes]
    rounds = math.ceil(len(batches) / accelerator.num_processes)
    model.train()
    loss_sum = torch.zeros((), device=accelerator.device)
    for turn in range(rounds):
        # A process without a batch of its own still takes part in the exchange of gradients, with weight zero.
        numbers, share = (mine[turn], 1.0) if turn < len(mine) else (batches[0], 0.0)
        batch = collate(
            [windows.rows[number] for number in numbers],
            run.engine.rendering,
            run.engine.decoder_start,
            accelerator.device,
        )
        with accelerator.no_sync(model) if turn + 1 < rounds else nullcontext():
            loss = answer_loss(model, batch, accepted) * share
            accelerator.backward(loss * accelerator.num_processes / total)
        loss_sum += loss.detach()
    accelerator.clip_grad_norm_(trainable(run.model).values(), run.options.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    weight = float(windows.weights[rows].sum())
    return float(accelerator.reduce(loss_sum, "sum")) / weight, sum(windows.lengths[row] for row in rows)


def done_share(progress: Progress, total: int, options: FinetuneOptions) -> float:
    """How much of the run is behind it, by steps or by the clock, whichever is further."""
    by_clock = progress.seconds / 60 / options.max_minutes if options.max_minutes else 0.0
    return max(progress.step / total, by_clock)


def schedule(share: float, warmup: float) -> float:
    """Factor of the learning rate: up along a line for `warmup` of the run, then down along a line to zero."""
    return (share + 1e-3) / (warmup + 1e-3) if share < warmup else (1 - share) / (1 - warmup)


@torch.no_grad()
def mean_loss(run: Run, rows: Dataset) -> float | None:
    """-log p per weighted answer token; None without rows."""
    if not len(rows):
        return None
    run.model.eval()
    accepted = forward_parameters(run.engine.model.__class__)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]["prompt"]))
    size = run.options.per_device_train_batch_size
    total = 0.0
    for first in range(0, len(order), size):
        chosen = [rows[row] for row in order[first : first + size]]
        batch = collate(chosen, run.engine.rendering, run.engine.decoder_start, run.accelerator.device)
        with run.accelerator.autocast():
            total += float(answer_loss(run.model, batch, accepted))
    return round(total / float(answer_weights(rows).sum()), 6)
