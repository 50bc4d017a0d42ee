"""Recipes that come with the package: the one of `demo`, and a commented one that `init` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llm_aug.config import Recipe, load_recipe
from llm_aug.errors import InputError
from llm_aug.files import write_text

FOLDER = Path(__file__).resolve().parent / "builtin"


def load_demo(overrides: Sequence[str] = ()) -> Recipe:
    return load_recipe(FOLDER / "demo.yaml", overrides)


def write_starter(folder: Path) -> Path:
    """folder/recipe.yaml. Raises InputError where there is one: nothing of the user's is written over."""
    target = folder / "recipe.yaml"
    if target.exists():
        raise InputError(f"{target} is there already; name another folder")
    write_text(target, (FOLDER / "starter.yaml").read_text(encoding="utf-8"))
    return target
