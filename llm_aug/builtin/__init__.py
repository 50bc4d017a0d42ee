"""The model that comes with the package: `builtin:mini`, and the script that made it."""

from __future__ import annotations

from pathlib import Path

from llm_aug.errors import InputError, Unavailable, did_you_mean

NAMES = ("mini",)


def model_path(name: str) -> Path:
    """Folder of a built-in model, for transformers' `from_pretrained`.

    Raises InputError for an unknown name, Unavailable where the installation lacks the weights.
    """
    if name not in NAMES:
        raise InputError(f"there is no built-in model {name!r}; {did_you_mean(name, NAMES)}")
    folder = Path(__file__).resolve().parent / name
    if not (folder / "model.safetensors").is_file():
        raise Unavailable(f"{folder} has no model.safetensors; reinstall llm-aug, or run llm_aug.builtin.pretrain")
    return folder
