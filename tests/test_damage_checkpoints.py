"""Checkpoints of training, damaged in every way: the one before is used, or training begins anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from damaging import DAMAGES, damage
from test_finetune import EXAMPLES, assert_equal_weights, options

from llm_aug import finetune_loop
from llm_aug.errors import ResumeRefused
from llm_aug.finetune import finetune


@pytest.fixture(scope="module")
def half_trained(model_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """whole/ is trained to the end; cut.partial/ has checkpoints after steps 3 and 6 of 8."""
    folder = tmp_path_factory.mktemp("half")
    recipe = options(model_folder("llama"))
    finetune(EXAMPLES, [], recipe, folder / "whole")
    take_step = finetune_loop.take_step

    def power_cut(run: Any, model: Any, optimizer: Any, windows: Any, rate: float, step: int) -> Any:
        if step == 7:
            raise OSError("the power went")
        return take_step(run, model, optimizer, windows, rate, step)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(finetune_loop, "take_step", power_cut)
        with pytest.raises(OSError, match="power"):
            finetune(EXAMPLES, [], recipe, folder / "cut")
    assert sorted(path.name for path in (folder / "cut.partial").glob("step-*")) == ["step-3", "step-6"]
    return folder


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("state.safetensors", kind) for kind in DAMAGES),
        *(("progress.json", kind) for kind in DAMAGES if kind != "short of a byte"),  # its last byte is a line end
    ],
)
def test_of_a_damaged_checkpoint_the_one_before_is_used(
    half_trained: Path,
    model_folder: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    kind: str,
) -> None:
    shutil.copytree(half_trained / "cut.partial", tmp_path / "cut.partial")
    damage(tmp_path / "cut.partial" / "step-6" / name, kind)
    result = finetune(EXAMPLES, [], options(model_folder("llama")), tmp_path / "cut")
    assert result.resumed_from == 3
    assert f"step-6/{name}" in (told := capsys.readouterr().err)
    assert "set aside as step-6.bad" in told
    assert_equal_weights(half_trained / "whole", tmp_path / "cut")
    assert not (tmp_path / "cut.partial").exists()


def test_without_a_whole_checkpoint_training_begins_anew(
    half_trained: Path, model_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(half_trained / "cut.partial", tmp_path / "cut.partial")
    for step in ("step-3", "step-6"):
        damage(tmp_path / "cut.partial" / step / "progress.json", "torn")
    result = finetune(EXAMPLES, [], options(model_folder("llama")), tmp_path / "cut")
    assert result.resumed_from == 0
    assert capsys.readouterr().err.count("set aside") == 2
    assert_equal_weights(half_trained / "whole", tmp_path / "cut")


def test_a_damaged_checkpoint_does_not_hide_whose_folder_it_is(
    half_trained: Path, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(half_trained / "cut.partial", tmp_path / "cut.partial")
    damage(tmp_path / "cut.partial" / "step-6" / "progress.json", "empty")
    with pytest.raises(ResumeRefused, match="another recipe"):
        finetune(EXAMPLES, [], options(model_folder("llama"), seed=1), tmp_path / "cut")
    assert (tmp_path / "cut.partial" / "step-6").is_dir()
