"""What the rows of a stage depend on, as names and hashes: the recipes that `stage.once` compares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_aug.builtin import model_path
from llm_aug.config import Recipe
from llm_aug.errors import InputError, did_you_mean
from llm_aug.files import fingerprint, sha256_file
from llm_aug.stage import check, checked, read_mark

BUNDLED = Path(__file__).resolve().parent / "builtin"
SIZES = ("limit", "copies", "new_users")  # of a task: how much is asked, which changes no row


def identity(name: str) -> str:
    """What a name of a model or encoder stands for: of a file or folder its own name and a hash, wherever it lies.

    A hub id is only its name here; the commit is in the manifest of what was generated.
    """
    scheme, colon, rest = name.partition(":")
    place = Path(rest if colon and not Path(name).exists() else name)
    if scheme == "builtin":
        place = model_path(rest)
    if place.is_file():
        return f"{place.name}@{sha256_file(place)[:16]}"
    if place.is_dir():
        weights = sorted(place.glob("*.safetensors"))
        return f"{place.resolve().name}@{fingerprint({path.name: sha256_file(path) for path in weights})}"
    return name


def content(*paths: Path) -> str:
    """A hash of files, in this order. Raises InputError where one is not there, or not as its stage wrote it."""
    return fingerprint([checked(path) for path in paths])


def split_content(folder: Path) -> str:
    """A hash of a split's tables. Raises InputError where the split is unfinished or damaged."""
    check(folder)
    tables = (folder / f"{name}.parquet" for name in ("items", "train", "validation", "test", "withheld"))
    return content(*(path for path in tables if path.is_file() or path.stem != "withheld"))


def samples_file(source: Path) -> Path:
    """A file as it is; of a folder of ours the filtered samples, else the raw ones."""
    if not source.is_dir():
        return source
    kept = source / "kept.parquet"
    made = (read_mark(source) or {}).get("files", ())
    return kept if kept.is_file() or kept.name in made else source / "samples.parquet"


def part(recipe: Recipe, section: str, *faster: str) -> dict[str, Any]:
    """A section without what changes speed alone."""
    return {name: value for name, value in recipe.section(section).items() if name not in faster}


def met(recipe: Recipe) -> dict[str, Any]:
    """What decides on the candidates."""
    return {"encoder": identity(recipe.encoder), "funnel": recipe.section("funnel")}


def judged(recipe: Recipe) -> dict[str, Any]:
    """What decides on how they are judged."""
    return {
        "interactions": part(recipe, "interactions", "chunk", "shard_seconds"),
        "judge_prompt": recipe.interactions.judge.prompt_hash,
    }


def asked_for(recipe: Recipe, task: str) -> dict[str, Any]:
    """What decides on a task's requests, but for how many there are."""
    options = recipe.task_options(task)
    made: dict[str, Any] = {"options": {key: value for key, value in options.items() if key not in (*SIZES, "encoder")}}
    return {**made, "encoder": identity(options["encoder"])} if "encoder" in options else made


def answered_by(recipe: Recipe, adapter: Path | None) -> dict[str, str]:
    """Who answers. Raises InputError where the adapter is damaged."""
    if adapter is not None:
        check(adapter)
    extra = {"extra": fingerprint(recipe.engine.extra)} if recipe.engine.extra else {}
    adapted = identity(str(adapter)).rpartition("@")[2] if adapter else ""
    return {"model": identity(recipe.model), "adapter": adapted, **extra}


def filter_options(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The options of each filter that are set."""
    return {name: _without_none(values) for name, values in recipe.section("filter").items()}


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def source(name: str) -> Path:
    """The folder or file behind a name; what is bundled is called builtin:NAME."""
    if not name.startswith("builtin:"):
        return Path(name)
    known = {f"builtin:{path.parent.name}": path.parent for path in BUNDLED.glob("*/interactions.parquet")}
    if name not in known:
        raise InputError(f"no source {name!r} is bundled; {did_you_mean(name, known)}")
    return known[name]
