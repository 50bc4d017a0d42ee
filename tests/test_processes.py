"""Two processes share the rows and gradients of a step: what they learn is what one learns from the same rows."""

from __future__ import annotations

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

from llm_aug import pipeline
from llm_aug.config import recipe_of
from llm_aug.data import Split
from llm_aug.files import read_json
from llm_aug.finetune_loop import agreed
from llm_aug.splits import write_split

Folder = Callable[..., Path]


def test_one_process_agrees_with_itself() -> None:
    assert agreed(Accelerator(cpu=True), 1.23456789, []) == (1.23456789, 0)
    assert agreed(Accelerator(cpu=True), 0.5, [15, 2]) == (0.5, 15)


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
