"""Two processes share the rows and gradients of a step: what they learn is what one learns from the same rows."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from safetensors.numpy import load_file

from llm_aug import pipeline, processes
from llm_aug.config import recipe_of
from llm_aug.data import Split
from llm_aug.errors import InputError
from llm_aug.files import read_json
from llm_aug.finetune_loop import agreed
from llm_aug.splits import write_split
from llm_aug.stage import Outcome, once, read_mark

Folder = Callable[..., Path]


def test_one_process_agrees_with_itself() -> None:
    assert agreed(Accelerator(cpu=True), 1.23456789, []) == (1.23456789, 0)
    assert agreed(Accelerator(cpu=True), 0.5, [15, 2]) == (0.5, 15)


def test_the_work_of_one_process_is_refused_to_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"split is the work of one process, and 2 are launched"):
        once(tmp_path / "made", "split", {}, lambda: Outcome("never"))
    assert not (tmp_path / "made").exists()


def test_the_second_of_two_processes_works_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert once(tmp_path / "made", "train", {}, lambda: Outcome("fitted")) == Outcome("fitted")
    assert not (tmp_path / "made").exists()
    monkeypatch.setenv("RANK", "0")
    once(tmp_path / "made", "train", {}, lambda: Outcome("fitted"))
    assert (read_mark(tmp_path / "made") or {})["state"] == "done"


def test_a_rank_without_a_number_of_processes_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some job schedulers leave it in the environment."""
    monkeypatch.setenv("RANK", "1")
    assert (processes.rank(), processes.count()) == (0, 1)
    once(tmp_path / "made", "split", {}, lambda: Outcome("cut"))
    assert (read_mark(tmp_path / "made") or {})["state"] == "done"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("student", "options"),
    [
        ("two-tower", ["id_dropout=0.0", "epochs=2", "batch_size=13"]),
        ("lightgcn", ["epochs=3", "batch_size=5"]),
        ("bpr", ["epochs=2", "batch_size=13"]),
        ("popularity", []),
    ],
)
def test_two_processes_train_the_student_that_one_trains(
    tastes: Split, tmp_path: Path, student: str, options: list[str]
) -> None:
    """All but BPR draw nothing in a step; there the negatives of the second process are others."""
    split = tmp_path / "split"
    write_split(split, tastes)
    asked = ["train", str(split), "--model", student, *(part for one in options for part in ("--option", one))]
    launched = _launched([*asked, "--output", str(tmp_path / "two")])
    assert launched.returncode == 0, launched.stderr
    found = {name: value for name, _, value in (one.partition("=") for one in options)}
    pipeline.train(split, (), student, {name: json.loads(value) for name, value in found.items()}, 0, tmp_path / "one")
    one, two = (np.load(tmp_path / name / "arrays.npz") for name in ("one", "two"))
    assert set(one) == set(two)
    for name in one:
        if student != "bpr" and one[name].dtype.kind == "f":
            np.testing.assert_allclose(two[name], one[name], atol=1e-4)
        else:
            assert two[name].shape == one[name].shape
    assert read_mark(tmp_path / "two")["counts"] == read_mark(tmp_path / "one")["counts"]  # type: ignore[index]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_same_rows(
    model_folder: Folder, tastes: Split, tmp_path: Path
) -> None:
    model, split = str(model_folder("llama")), tmp_path / "split"
    write_split(split, tastes)
    options = {"per_device_train_batch_size": 2, "max_steps": 6, "learning_rate": 1e-2}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    asked = ["finetune", str(split), "--task", "history", "--model", model, "--device", "cpu", "--limit", "40", *flags]
    launched = _launched([*asked, "--output", str(tmp_path / "two")])
    assert launched.returncode == 0, launched.stderr
    tuning = {**options, "tasks": ["history"], "limit": 40, "gradient_accumulation_steps": 2}
    recipe = recipe_of(finetune=tuning, model=model, seeds=[0], engine={"device": "cpu"})
    pipeline.finetune(recipe, split, tmp_path / "one")
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name], one[name], atol=1e-4)
    first, second = (read_json(tmp_path / name / "finetune.json") for name in ("one", "two"))
    assert (first["steps"], first.get("processes"), second["steps"], second["processes"]) == (6, None, 6, 2)
    np.testing.assert_allclose(second["curve"], first["curve"], atol=1e-4)
    assert {path.name for path in (tmp_path / "two").iterdir()} == {path.name for path in (tmp_path / "one").iterdir()}
    assert not (tmp_path / "two.partial").exists()


def _launched(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """By torch's launcher, as `accelerate launch` does on GPUs; on CPUs that would start one process alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1", f"--master_port={port}"]
    command = [sys.executable, "-m", *launch, "-m", "llm_aug", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
