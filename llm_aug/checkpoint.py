"""The state of an unfinished fine-tuning run as safetensors and JSON, never pickle; folders whole or absent."""

from __future__ import annotations

import shutil
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llm_aug.errors import Resumable
from llm_aug.files import RESUMABLE, read_json, write_json

_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Progress:
    """What a run has behind it. curve: [step, mean loss] of every step."""

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    validation_before: float | None = None
    curve: list[list[float]] = field(default_factory=list)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that takes the name `path` when the block ends well."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno in RESUMABLE:
            raise Resumable(f"cannot write {path}: {error.strerror}; free or unlock it and run again") from error
        raise
    except SafetensorError as error:  # how safetensors reports a full disk
        raise Resumable(f"cannot write {path}: {error}; free or unlock it and run again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save(folder: Path, model: Any, optimizer: torch.optim.Optimizer, progress: Progress, recipe: str) -> None:
    """Writes `folder/step-N` and removes the older ones."""
    with whole_folder(folder / f"step-{progress.step}") as new:
        save_file(_tensors(model, optimizer), new / "state.safetensors")
        write_json(new / "progress.json", {**vars(progress), "recipe": recipe})
    for old in _steps(folder)[:-1]:
        shutil.rmtree(old)


def restore(folder: Path, model: Any, optimizer: torch.optim.Optimizer) -> Progress:
    """The newest checkpoint into model and optimizer; a fresh Progress where there is none."""
    steps = _steps(folder)
    if not steps:
        return Progress()
    state = load_file(steps[-1] / "state.safetensors")
    found = read_json(steps[-1] / "progress.json")
    del found["recipe"]
    trained = trainable(model)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(state[f"parameter/{name}"])
    moments = {
        place: {"step": torch.tensor(float(found["step"])), **{kind: state[f"{kind}/{name}"] for kind in _MOMENTS}}
        for place, name in enumerate(trained)
    }
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return Progress(**found)


def recipe_of(folder: Path) -> str | None:
    steps = _steps(folder)
    return read_json(steps[-1] / "progress.json")["recipe"] if steps else None


def trainable(model: Any) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _tensors(model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {}
    for name, parameter in trainable(model).items():
        tensors[f"parameter/{name}"] = parameter.detach().contiguous()
        for kind in _MOMENTS:
            tensors[f"{kind}/{name}"] = optimizer.state[parameter][kind].contiguous()
    return tensors


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))


class Interrupted(KeyboardInterrupt):
    """exit_code: 130 after Ctrl-C, 143 after a polite kill."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}; run the same command again to go on")
        self.exit_code = 128 + number


@contextmanager
def deferred_interrupts() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying in the middle of a step; a second one kills as ever."""
    caught: list[int] = []
    before: dict[int, Any] = {}

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
