"""What the generators that train a network share: item content, a seeded start, and a loop that can be resumed.

FOLDER/checkpoint/step-N/   of an unfinished training, see llm_aug.checkpoint; gone when it is done
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llm_aug import seeds
from llm_aug.checkpoint import recipe_of, restore, save
from llm_aug.classics import Context
from llm_aug.classics.log import Floats
from llm_aug.errors import InputError, Unavailable
from llm_aug.files import fingerprint
from llm_aug.progress import Meter
from llm_aug.vectors import finite

CHECKPOINT_SECONDS = 30.0
COMPONENTS = 128
# Fills .grad from the rows of a batch and says the losses. The number is the share of all steps that lies behind.
Gradients = Callable[[torch.Tensor, torch.Generator, float], Sequence[float]]


def content_of(vectors: Floats) -> Floats:
    """Principal components of those with a direction, scaled so that an entry is about 1, zero for the others:
    [items, COMPONENTS or fewer].

    A training's time goes by its width.
    """
    known = finite(vectors)
    content = np.zeros((len(vectors), min(vectors.shape[1], COMPONENTS)), dtype=np.float32)
    if known.any():
        rows = vectors[known].astype(np.float64)
        rows -= rows.mean(axis=0)
        axes = np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :COMPONENTS]
        content[known] = scaled(rows @ axes)[0]
    return content


def scaled(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The rows divided by the root mean square of their entries, and that number."""
    scale = max(float(np.sqrt(np.square(rows).mean())), 1e-6)
    return rows / scale, scale


def pick_device(name: str) -> torch.device:
    """auto: the accelerator where there is one. Raises Unavailable for a device that is not there."""
    if name == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise Unavailable(f"device {name!r} is not there: {str(error).splitlines()[0]}") from error


def linear(inputs: int, outputs: int, generator: torch.Generator) -> torch.nn.Linear:
    """Weights normal with variance 1 / inputs, so that the scale is kept; biases zero."""
    layer = torch.nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(outputs, inputs, generator=generator) / max(inputs, 1) ** 0.5)
        layer.bias.zero_()
    return layer


@dataclass(frozen=True)
class Plan:
    """One training. rows: examples in an epoch. recipe: what decides on the weights, a checkpoint of another is thrown
    away. context: its seed, and where checkpoints and progress go."""

    name: str
    rows: int
    epochs: int
    batch_size: int
    context: Context
    recipe: str


def recipe_hash(options: Any, seed: int, *arrays: NDArray[Any]) -> str:
    parts = [hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for array in arrays]
    return fingerprint([str(options), seed, *parts])


def train(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, gradients: Gradients, plan: Plan
) -> list[list[float]]:
    """[epoch, mean of each loss] of every epoch. Each epoch has draws of its own: a resumed run ends as a whole one.

    Raises InputError where a loss is no longer finite.
    """
    folder, steps = plan.context.folder / "checkpoint", -(-plan.rows // plan.batch_size)
    if recipe_of(folder) not in (None, plan.recipe):
        shutil.rmtree(folder)
    progress, saved = restore(folder, model, optimizer), time.monotonic()
    with Meter(plan.name, plan.epochs, len(progress.curve), plan.context.output) as meter:
        for epoch in range(len(progress.curve), plan.epochs):
            generator = seeds.torch_generator(plan.context.seed, plan.name, "epoch", epoch)
            losses = []
            order: torch.Tensor = torch.randperm(plan.rows, generator=generator)
            for place in range(steps):
                batch = order[place * plan.batch_size : (place + 1) * plan.batch_size]
                optimizer.zero_grad()
                losses.append(gradients(batch, generator, (epoch * steps + place) / (plan.epochs * steps)))
                optimizer.step()
            means = np.mean(losses, axis=0).tolist()
            if not np.isfinite(means).all():
                raise InputError(f"{plan.name}: the loss of epoch {epoch + 1} is {means}; lower learning_rate")
            progress.curve.append([epoch + 1, *means])
            progress.step += steps
            meter.note = f"loss {means[0]:.4f}"
            meter.advance()
            if time.monotonic() - saved >= CHECKPOINT_SECONDS and epoch + 1 < plan.epochs:
                save(folder, model, optimizer, progress, plan.recipe)
                saved = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    return progress.curve
