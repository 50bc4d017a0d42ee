"""One stage, one folder, one mark: stage.json says which recipe made what lies beside it, and is written last.

{"stage": "split", "state": "done", "fingerprint": "9c1f", "recipe": {...}, "line": "100 pairs = ...", "counts": {...}}
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_aug.answers import say
from llm_aug.errors import InputError, ResumeRefused
from llm_aug.files import fingerprint, read_json, write_json

MARK = "stage.json"


@dataclass(frozen=True)
class Outcome:
    """line: what came in = what went out, in words. counts: the same as numbers, and what else is worth keeping."""

    line: str
    counts: Mapping[str, Any] = field(default_factory=dict)


def once(
    output: Path,
    stage: str,
    recipe: Mapping[str, Any],
    work: Callable[[], Outcome],
    size: Mapping[str, Any] | None = None,
    marks_start: bool = True,
) -> Outcome:
    """Does the work, or says that it is done. recipe: all that changes the rows, the inputs as hashes.

    size: how many rows are asked for; another size of the same recipe is more work, not another recipe.
    marks_start: False where the work itself refuses a folder that is not empty.
    Raises ResumeRefused where the folder holds the result of another recipe, or files that are not ours.
    """
    mark = {"stage": stage, "fingerprint": fingerprint([stage, recipe]), "recipe": recipe, "size": dict(size or {})}
    found = read_mark(output)
    if found is not None and found["state"] == "done":
        _refuse_other(output, found, mark)
    if found is not None and found["state"] == "done" and found["size"] == mark["size"]:
        say(f"{stage}: done, kept ({found['line']})")
        return Outcome(found["line"], found["counts"])
    if found is None and marks_start and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ResumeRefused(f"{output} is there and is no {stage} of ours; name another folder")
    if marks_start:
        write_json(output / MARK, {**mark, "state": "running"})
    started = time.monotonic()
    try:
        outcome = work()
    except BaseException:
        if found is None and marks_start:
            _sweep(output)
        raise
    seconds = round(time.monotonic() - started, 1)
    done = {**mark, "state": "done", "line": outcome.line, "counts": dict(outcome.counts), "seconds": seconds}
    write_json(output / MARK, done)
    say(f"{stage}: {outcome.line} [{seconds:.0f} s]")
    return outcome


def _sweep(output: Path) -> None:
    """Takes back a folder in which nothing was made but the mark that something would be."""
    if {path.name for path in output.iterdir()} <= {MARK, ".lock"}:
        for path in output.iterdir():
            path.unlink()
        output.rmdir()


def read_mark(folder: Path) -> dict[str, Any] | None:
    if not (folder / MARK).is_file():
        return None
    found = read_json(folder / MARK)
    if not (isinstance(found, dict) and {"stage", "state", "fingerprint", "recipe", "size"} <= set(found)):
        raise InputError(f"{folder / MARK} is not a mark of ours; remove the folder and run again")
    return found


def _refuse_other(output: Path, found: Mapping[str, Any], mark: Mapping[str, Any]) -> None:
    if found["fingerprint"] == mark["fingerprint"]:
        return
    if found["stage"] != mark["stage"]:
        raise ResumeRefused(f"{output} holds a {found['stage']}, not a {mark['stage']}; name another folder")
    old, new = _flat(found["recipe"]), _flat(mark["recipe"])
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    changes = [f"{name} was {old.get(name)!r}, is {new.get(name)!r}" for name in names]
    raise ResumeRefused(
        f"{output} holds a {mark['stage']} of another recipe ({'; '.join(changes[:3])}); "
        "name another folder, or remove this one and those after it"
    )


def _flat(recipe: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(recipe, Mapping):
        return {path: recipe}
    found: dict[str, Any] = {}
    for key, value in recipe.items():
        found |= _flat(value, f"{path}.{key}" if path else str(key))
    return found
