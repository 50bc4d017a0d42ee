"""A toy judge: comedies are liked, horror is not. A restart must not change what is learnt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ARCHITECTURES
from datasets import Dataset
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.numpy import load_file

from llm_aug import checkpoint, finetune_loop
from llm_aug.backends import completed, load_llm
from llm_aug.data import Example, Prompt, Sampling
from llm_aug.errors import InputError, Resumable, ResumeRefused, Unavailable
from llm_aug.finetune import FinetuneOptions, finetune
from llm_aug.finetune_loop import Windows, schedule
from llm_aug.finetune_rows import batch_plan
from llm_aug.signals import Interrupted

Folder = Callable[..., Path]
TITLES = ("Toy Story", "Heat", "Casino", "Jumanji", "Sabrina", "a doll", "a cowboy", "spaceman")


def judged(liked: str, title: str, answer: str) -> Example:
    return Example(Prompt("Answer yes or no.", f"Liked: {liked}\nNew: {title}"), answer)


EXAMPLES = [judged(*case) for title in TITLES[:6] for case in (("Comedy", title, "yes"), ("Horror", title, "no"))] * 2
HELD = [judged(*case) for title in TITLES[6:] for case in (("Comedy", title, "yes"), ("Horror", title, "no"))]
PROMPTS = [example.prompt for example in HELD]


def options(model: Path, **changes: Any) -> FinetuneOptions:
    defaults = {"learning_rate": 2e-2, "max_steps": 8, "per_device_train_batch_size": 4, "save_steps": 3}
    return FinetuneOptions(model=str(model), device="cpu", **{**defaults, **changes})


def weights(adapter: Path) -> dict[str, Any]:
    return load_file(adapter / "adapter_model.safetensors")


def assert_equal_weights(one: Path, two: Path) -> None:
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_toy_task_is_learnt_and_scores_show_it(model_folder: Folder, tmp_path: Path, architecture: str) -> None:
    model = model_folder(architecture)
    recipe = options(model, max_steps=80, lora_r=16, learning_rate=1e-2)
    result = finetune(EXAMPLES, HELD, recipe, tmp_path / "adapter", split_hash="abc", catalogue="def")
    assert result.validation_before is not None
    assert result.validation_after is not None
    assert result.validation_after < result.validation_before / 2
    assert (result.steps, len(result.curve), result.resumed_from, result.reused) == (80, 80, 0, False)
    tuned = load_llm(str(model), adapter=tmp_path / "adapter")
    assert tuned.adapter == result.adapter_revision
    yes, no = tuned.score(PROMPTS, ["yes", "no"]).sums.T
    assert (yes > no).tolist() == [True, False, True, False]
    before = load_llm(str(model)).score(PROMPTS, ["yes", "no"]).sums
    assert abs(before[:, 0] - yes).min() > 0.1
    record = json.loads((tmp_path / "adapter" / "finetune.json").read_text())
    assert (record["split_hash"], record["catalogue"]) == ("abc", "def")
    assert not (tmp_path / "adapter.partial").exists()


def test_the_tuned_model_says_what_it_learnt_and_stops(model_folder: Folder, tmp_path: Path) -> None:
    finetune(EXAMPLES, [], options(model_folder("qwen2"), max_steps=60), tmp_path / "adapter")
    tuned = load_llm(str(model_folder("qwen2")), adapter=tmp_path / "adapter")
    answers = completed(tuned, PROMPTS, Sampling(0.0, 1.0, 8), [0] * 4)
    assert [(answer.text, answer.finish) for answer in answers] == [("yes", "stop"), ("no", "stop")] * 2


def test_a_crash_changes_nothing(model_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = options(model_folder("llama"), lora_dropout=0.2, gradient_accumulation_steps=2)
    whole = finetune(EXAMPLES, HELD, recipe, tmp_path / "whole")
    steps: list[int] = []
    take_step = finetune_loop.take_step

    def crash_once(run: Any, model: Any, optimizer: Any, windows: Any, rate: float, step: int) -> Any:
        steps.append(step)
        if steps == [0, 1, 2, 3, 4]:
            raise OSError("the power went")
        return take_step(run, model, optimizer, windows, rate, step)

    monkeypatch.setattr(finetune_loop, "take_step", crash_once)
    with pytest.raises(OSError, match="power"):
        finetune(EXAMPLES, HELD, recipe, tmp_path / "broken")
    assert not (tmp_path / "broken").exists()
    resumed = finetune(EXAMPLES, HELD, recipe, tmp_path / "broken")
    assert steps == [0, 1, 2, 3, 4, 3, 4, 5, 6, 7]
    assert resumed.resumed_from == 3
    assert (resumed.curve, resumed.validation_before) == (whole.curve, whole.validation_before)
    assert_equal_weights(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_polite_kill_ends_after_a_checkpoint(
    model_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    recipe = options(model_folder("llama"), save_steps=100)
    take_step = finetune_loop.take_step

    def kill_at_four(run: Any, model: Any, optimizer: Any, windows: Any, rate: float, step: int) -> Any:
        if step == 4:
            os.kill(os.getpid(), number)
        return take_step(run, model, optimizer, windows, rate, step)

    with monkeypatch.context() as patched:
        patched.setattr(finetune_loop, "take_step", kill_at_four)
        with pytest.raises(Interrupted) as caught:
            finetune(EXAMPLES, HELD, recipe, tmp_path / "adapter")
    assert caught.value.exit_code == code
    assert finetune(EXAMPLES, HELD, recipe, tmp_path / "adapter").resumed_from == 5
    finetune(EXAMPLES, HELD, recipe, tmp_path / "whole")
    assert_equal_weights(tmp_path / "whole", tmp_path / "adapter")


def test_a_finished_adapter_is_reused_and_another_recipe_refused(
    model_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = options(model_folder("llama"), max_steps=2)
    first = finetune(EXAMPLES, [], recipe, tmp_path / "adapter")

    def never(*_: Any) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr(finetune_loop, "take_step", never)
    again = finetune(EXAMPLES, [], recipe.model_copy(update={"save_steps": 1}), tmp_path / "adapter", catalogue="named")
    assert (again.reused, again.adapter_revision) == (True, first.adapter_revision)
    for changed in (
        lambda: finetune(EXAMPLES, [], recipe.model_copy(update={"seed": 1}), tmp_path / "adapter"),
        lambda: finetune(EXAMPLES[1:], [], recipe, tmp_path / "adapter"),
        lambda: finetune(EXAMPLES, [], recipe, tmp_path / "adapter", split_hash="other"),
    ):
        with pytest.raises(ResumeRefused, match="another recipe"):
            changed()


def test_a_folder_of_something_else_is_refused(model_folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "thesis.txt").write_text("mine")
    with pytest.raises(ResumeRefused, match="no adapter of ours"):
        finetune(EXAMPLES, [], options(model_folder("llama")), tmp_path / "adapter")


def test_two_runs_do_not_train_into_one_folder(model_folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "adapter.partial").mkdir()
    with FileLock(tmp_path / "adapter.partial" / ".lock"), pytest.raises(ResumeRefused, match="another run"):
        finetune(EXAMPLES, [], options(model_folder("llama")), tmp_path / "adapter")


def test_long_examples_are_dropped_and_counted(model_folder: Folder, tmp_path: Path) -> None:
    long = [judged("Comedy, " * 50, "Heat", "yes"), Example(Prompt("", "x"), "\ud800"), Example(Prompt("", "x"), "")]
    recipe = options(model_folder("llama"), max_steps=1, max_length=100)
    result = finetune([*EXAMPLES, *long], [], recipe, tmp_path / "adapter")
    assert (result.examples, result.dropped) == (len(EXAMPLES), 3)
    with pytest.raises(InputError, match="none of 1 examples fits"):
        finetune(long[:1], [], recipe, tmp_path / "other")


@pytest.mark.parametrize("liked", ["yes", "no"])
def test_of_two_answers_the_heavier_is_learnt(model_folder: Folder, tmp_path: Path, liked: str) -> None:
    both = [Example(PROMPTS[0], answer, 9.0 if answer == liked else 1.0) for answer in ("yes", "no")]
    recipe = options(model_folder("llama"), max_steps=40, per_device_train_batch_size=1)
    finetune(both * 4, [], recipe, tmp_path / "adapter")
    [[yes, no]] = (
        load_llm(str(model_folder("llama")), adapter=tmp_path / "adapter").score(PROMPTS[:1], ["yes", "no"]).sums
    )
    assert (yes > no) == (liked == "yes")
    assert abs(yes - no) > 1


def test_accumulation_does_not_change_the_loss(model_folder: Folder, tmp_path: Path) -> None:
    many = options(model_folder("llama"), max_steps=3, per_device_train_batch_size=2, gradient_accumulation_steps=12)
    one = options(model_folder("llama"), max_steps=3, per_device_train_batch_size=24)
    curves = [finetune(EXAMPLES, [], recipe, tmp_path / str(n)).curve for n, recipe in enumerate((many, one))]
    np.testing.assert_allclose(curves[0], curves[1], atol=1e-3)


def test_the_clock_ends_a_run(model_folder: Folder, tmp_path: Path) -> None:
    recipe = options(model_folder("llama"), max_steps=100_000, max_minutes=0.005)
    result = finetune(EXAMPLES, [], recipe, tmp_path / "adapter")
    assert 1 <= result.steps < 1000


def test_an_adapter_of_other_weights_is_refused(model_folder: Folder, tmp_path: Path) -> None:
    finetune(EXAMPLES, [], options(model_folder("llama"), max_steps=1), tmp_path / "adapter")
    with pytest.raises(InputError, match="was trained on weights"):
        load_llm(str(model_folder("qwen2")), adapter=tmp_path / "adapter")
    with pytest.raises(Unavailable, match="holds no adapter_model"):
        load_llm(str(model_folder("llama")), adapter=tmp_path)


def test_memory_errors_say_what_to_lower(model_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any) -> Any:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(finetune_loop, "take_step", short)
    with pytest.raises(Resumable, match="per_device_train_batch_size"):
        finetune(EXAMPLES, [], options(model_folder("llama")), tmp_path / "adapter")


def test_a_full_disk_can_be_mended(model_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", full)
        with pytest.raises(Resumable, match="No space left"):
            finetune(EXAMPLES, [], options(model_folder("llama"), max_steps=2), tmp_path / "adapter")
    assert sorted(path.name for path in tmp_path.glob("adapter*/*")) == [".lock", "progress.json"]
    assert finetune(EXAMPLES, [], options(model_folder("llama"), max_steps=2), tmp_path / "adapter").steps == 2


def test_engines_without_weights_and_unknown_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no weights to train"):
        finetune(EXAMPLES, [], FinetuneOptions(model="scripted:answers.json"), tmp_path / "adapter")
    with pytest.raises(ValueError, match="lora_rank"):
        FinetuneOptions.model_validate({"model": "x", "lora_rank": 8})


def test_batches_hold_every_row_once_and_like_lengths_together() -> None:
    lengths = [n % 50 for n in range(500)]
    plan = batch_plan(lengths, 8, seed=0, epoch=0)
    assert sorted(row for batch in plan for row in batch) == list(range(500))
    assert max(max(lengths[row] for row in batch) - min(lengths[row] for row in batch) for batch in plan) < 16
    assert plan == batch_plan(lengths, 8, seed=0, epoch=0) != batch_plan(lengths, 8, seed=0, epoch=1)


def test_windows_are_shared_among_processes() -> None:
    rows = Dataset.from_dict({"prompt": [[1]] * 10, "answer": [[2]] * 10, "weight": [1.0] * 10})
    recipe = FinetuneOptions(
        model="x", per_device_train_batch_size=2, gradient_accumulation_steps=2, num_train_epochs=2
    )
    windows = Windows(rows, recipe, processes=2)
    assert windows.total == 4  # two epochs of five batches, four batches to a step
    assert [len(windows.batches(step)) for step in range(4)] == [4, 1, 4, 1]


def test_the_learning_rate_rises_then_falls() -> None:
    assert schedule(0.0, 0.1) < 0.02
    assert schedule(0.1, 0.1) == 1.0
    assert schedule(0.55, 0.1) == pytest.approx(0.5)
    assert schedule(1.0, 0.1) == 0.0


@pytest.mark.slow
def test_a_hard_kill_in_the_middle_resumes(model_folder: Folder, tmp_path: Path) -> None:
    program = (
        "import sys, test_finetune as t; from pathlib import Path\n"
        "recipe = t.options(Path(sys.argv[1]), max_steps=300, save_steps=10)\n"
        "print(t.finetune(t.EXAMPLES, t.HELD, recipe, Path(sys.argv[2])).resumed_from)"
    )

    def start(output: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, str(model_folder("llama")), str(output)]
        return subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True)

    killed = start(tmp_path / "killed")
    while not list((tmp_path / "killed.partial").glob("step-*")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert not (tmp_path / "killed").exists()
    assert int(start(tmp_path / "killed").communicate()[0]) >= 10
    start(tmp_path / "whole").communicate()
    assert_equal_weights(tmp_path / "whole", tmp_path / "killed")
