"""The state of an unfinished fine-tuning run as safetensors and JSON, never pickle; folders whole or absent.

FOLDER/step-N/state.safetensors   the adapter and its moments
FOLDER/step-N/progress.json       {"step": 6, "recipe": "9c1f", "state": "<sha256>", "digest": "<of this file>", ...}
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llm_aug.answers import say
from llm_aug.errors import InputError, Resumable
from llm_aug.files import fingerprint, flush, read_json, sha256_file, sweep, temporary_for, write_json, writing

KEPT = 2
STATE, PROGRESS = "state.safetensors", "progress.json"
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
    """A temporary folder that takes the name `path` when the block ends well; what a killed writer left goes first."""
    temporary = temporary_for(path)
    try:
        with writing(path):
            sweep(path.parent, path.name)
            temporary.mkdir(parents=True)
            yield temporary
            for file in temporary.iterdir():
                flush(file)
            temporary.replace(path)
    except SafetensorError as error:  # how safetensors reports a full disk
        raise Resumable(f"cannot write {path}: {error}; free or unlock it and run again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save(folder: Path, model: Any, optimizer: torch.optim.Optimizer, progress: Progress, recipe: str) -> None:
    """Writes `folder/step-N`, then removes all but KEPT: should the newest be spoilt, there is one to go on from."""
    with whole_folder(folder / f"step-{progress.step}") as new:
        save_file(_tensors(model, optimizer), new / STATE)
        record = {**vars(progress), "recipe": recipe, "state": sha256_file(new / STATE)}
        write_json(new / PROGRESS, {**record, "digest": fingerprint(record)})
    for old in _steps(folder)[:-KEPT]:
        shutil.rmtree(old)


def restore(folder: Path, model: Any, optimizer: torch.optim.Optimizer) -> Progress:
    """The newest whole checkpoint into model and optimizer; a fresh Progress where there is none.

    A damaged one is named and set aside.
    """
    for step in reversed(_steps(folder)):
        try:
            found = _record(step)
            state = load_file(step / STATE)
        except (InputError, OSError, SafetensorError) as error:
            _set_aside(step, error)
            continue
        _load(state, found["step"], model, optimizer)
        return Progress(**{part.name: found[part.name] for part in fields(Progress)})
    return Progress()


def recipe_of(folder: Path) -> str | None:
    """Of the newest whole checkpoint. Only looks: another process may be training here."""
    for step in reversed(_steps(folder)):
        with suppress(InputError, OSError):
            return str(_record(step)["recipe"])
    return None


def _load(state: Mapping[str, Tensor], step: int, model: Any, optimizer: torch.optim.Optimizer) -> None:
    trained = trainable(model)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(state[f"parameter/{name}"])
    moments = {
        place: {"step": torch.tensor(float(step)), **{kind: state[f"{kind}/{name}"] for kind in _MOMENTS}}
        for place, name in enumerate(trained)
    }
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def _record(step: Path) -> dict[str, Any]:
    """Raises InputError where a file of the checkpoint is not as it was written."""
    found = read_json(step / PROGRESS)
    digest = found.pop("digest", None) if isinstance(found, dict) else None
    if digest is None or digest != fingerprint(found):
        raise InputError(f"{step / PROGRESS} is not the file that was written")
    if not (step / STATE).is_file() or sha256_file(step / STATE) != found["state"]:
        raise InputError(f"{step / STATE} is not the file that was written")
    record: dict[str, Any] = found
    return record


def _set_aside(step: Path, error: Exception) -> None:
    """Each process of a distributed run comes here; the first one renames."""
    aside = step.with_name(f"{step.name}.bad")
    shutil.rmtree(aside, ignore_errors=True)
    with suppress(OSError):
        step.replace(aside)
    say(f"{' '.join(str(error).split())}; set aside as {aside.name}, training goes on from the checkpoint before it")


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
    """Oldest first."""
    found = {int(path.name.removeprefix("step-")): path for path in folder.glob("step-*") if path.suffix != ".bad"}
    return [found[step] for step in sorted(found)]
