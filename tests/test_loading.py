"""What cannot be loaded says why in one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llm_aug.backends import BACKENDS, load_llm
from llm_aug.backends.loading import resolve_dtype
from llm_aug.errors import InputError, Unavailable

Folder = Callable[..., Path]


def test_revision_is_a_hash_of_the_weights(model_folder: Folder, tmp_path: Path) -> None:
    llama = load_llm(str(model_folder("llama")))
    shutil.copytree(model_folder("llama"), tmp_path / "copy")
    assert load_llm(str(tmp_path / "copy")).revision == llama.revision
    assert load_llm(str(model_folder("gpt2"))).revision != llama.revision
    assert (llama.name, llama.adapter) == (str(model_folder("llama")), "")


def test_unknown_engines_are_named() -> None:
    with pytest.raises(InputError, match="did you mean 'scripted'"):
        load_llm("scriptd:answers.json")
    assert set(BACKENDS) >= {"builtin", "hf", "scripted"}


@pytest.mark.parametrize("name", ["./nothing/here", "/nothing/here", "some/such/where"])
def test_a_missing_folder_is_unavailable(name: str) -> None:
    with pytest.raises(Unavailable, match="no model folder"):
        load_llm(name)


def test_a_folder_without_a_model_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be loaded"):
        load_llm(str(tmp_path))


def test_a_hub_model_without_a_hub_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="cannot be loaded"):
        load_llm("nobody/nothing")


def test_pickled_weights_are_refused(model_folder: Folder, tmp_path: Path) -> None:
    shutil.copytree(model_folder("llama"), tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").rename(tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(Unavailable, match="pickled"):
        load_llm(str(tmp_path / "old"))


def test_an_encoder_is_no_language_model(model_folder: Folder, tmp_path: Path) -> None:
    import transformers

    shutil.copytree(model_folder("llama"), tmp_path / "bert")
    size = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    transformers.BertModel(transformers.BertConfig(vocab_size=400, **size)).save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="no language model"):
        load_llm(str(tmp_path / "bert"))


def test_devices_and_dtypes_that_are_not_there(model_folder: Folder) -> None:
    with pytest.raises(Unavailable, match="cuda:99"):
        load_llm(str(model_folder("llama")), device="cuda:99")
    with pytest.raises(InputError, match="did you mean 'bfloat16'"):
        load_llm(str(model_folder("llama")), dtype="bfloat")


def test_a_cpu_never_narrows_float32_weights() -> None:
    assert resolve_dtype("auto", torch.device("cpu"), torch.float32) is torch.float32
    assert resolve_dtype("bfloat16", torch.device("cpu"), torch.float32) is torch.bfloat16
