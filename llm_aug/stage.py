"""One stage, one folder, one mark: stage.json says which recipe made what lies beside it, and is written last.

{"stage": "split", "state": "done", "fingerprint": "9c1f", "recipe": {...}, "line": "100 pairs = ...", "counts": {...},
 "files": {"train.parquet": "<sha256>", ...}, "digest": "<of this mark>"}
What a done mark lists is trusted by its sha256 alone: a file that was damaged or exchanged is named, never read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_aug import processes
from llm_aug.answers import locked, say
from llm_aug.errors import InputError, ResumeRefused
from llm_aug.files import fingerprint, is_empty, read_json, sha256_file, sweep, write_json

MARK = "stage.json"
MEND = "remove the folder and run again"
# Answers have digests of their own, and a damaged shard is asked again; progress is for people to look at.
NOT_RESULTS = {MARK, "answers", "progress.json"}
TOGETHER = {"finetune", "train"}  # stages whose work all processes of a launch share; the first of them writes


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
    marks_start: False where the work itself locks its folder, and refuses one that is not empty.
    Raises ResumeRefused where the folder holds the result of another recipe, files that are not ours or not as they
    were written, or where another process is at work in it; InputError where several are launched for one's work.
    """
    if processes.count() > 1 and stage not in TOGETHER:
        raise InputError(
            f"{stage} is the work of one process, and {processes.count()} are launched (WORLD_SIZE); start it without "
            f"a launcher, which is for {' and '.join(sorted(TOGETHER))}"
        )
    mark = {"stage": stage, "fingerprint": fingerprint([stage, recipe]), "recipe": recipe, "size": dict(size or {})}
    kept = _kept(output, mark)
    if kept is not None:
        return kept
    if processes.rank():
        return work()
    if not marks_start:
        return _done(output, mark, work)
    if _mark_of_ours(output) is None and _foreign(output):
        raise ResumeRefused(f"{output} is there and is no {stage} of ours; name another folder")
    with locked(output):  # another process may have had it until now
        return _kept(output, mark) or _begun(output, mark, work)


def _kept(output: Path, mark: Mapping[str, Any]) -> Outcome | None:
    """What an earlier run did, where it is the same, of the same size, and whole."""
    found = _mark_of_ours(output)
    if found is None or found["state"] != "done":
        return None
    _refuse_other(output, found, mark)
    try:
        _check(output, found)
    except InputError as error:
        raise ResumeRefused(str(error)) from None
    if found["size"] != mark["size"]:
        return None
    say(f"{mark['stage']}: done, kept ({found['line']})")
    return Outcome(found["line"], found["counts"])


def _mark_of_ours(output: Path) -> dict[str, Any] | None:
    try:
        return read_mark(output)
    except InputError as error:
        raise ResumeRefused(str(error)) from None


def _foreign(output: Path) -> bool:
    return output.exists() and not (output.is_dir() and is_empty(output))


def _begun(output: Path, mark: Mapping[str, Any], work: Callable[[], Outcome]) -> Outcome:
    fresh = read_mark(output) is None
    try:
        sweep(output)
        write_json(output / MARK, {**mark, "state": "running"})
        return _done(output, mark, work)
    except BaseException:
        if fresh:
            _take_back(output)
        raise


def _done(output: Path, mark: Mapping[str, Any], work: Callable[[], Outcome]) -> Outcome:
    started = time.monotonic()
    outcome = work()
    seconds = round(time.monotonic() - started, 1)
    told = {"line": outcome.line, "counts": dict(outcome.counts), "seconds": seconds}
    done = {**mark, "state": "done", **told, "files": _written(output)}
    write_json(output / MARK, {**done, "digest": fingerprint(done)})
    say(f"{mark['stage']}: {outcome.line} [{seconds:.0f} s]")
    return outcome


def _written(output: Path) -> dict[str, str]:
    """sha256 of each file of the result, by its path in the folder; hidden ones are locks and temporary files."""
    places = ((path, path.relative_to(output)) for path in sorted(output.rglob("*")) if path.is_file())
    return {
        place.as_posix(): sha256_file(path)
        for path, place in places
        if place.parts[0] not in NOT_RESULTS and not any(part.startswith(".") for part in place.parts)
    }


def _take_back(output: Path) -> None:
    """Removes a folder in which nothing was made but the mark that something would be."""
    with suppress(OSError):  # a disk that takes no more may not let go either; the cause is what is told
        if {path.name for path in output.iterdir()} <= {MARK, ".lock"}:
            for path in output.iterdir():
                path.unlink()
            output.rmdir()


def read_mark(folder: Path) -> dict[str, Any] | None:
    """None where there is none. Raises InputError where it is torn, or not as it was written."""
    path = folder / MARK
    if not path.is_file():
        return None
    try:
        found = read_json(path)
    except InputError as error:
        raise InputError(f"{error}; {MEND}") from None
    if not (isinstance(found, dict) and {"stage", "state", "fingerprint", "recipe", "size"} <= set(found)):
        raise InputError(f"{path} is not a mark of ours; {MEND}")
    if found["state"] not in ("running", "done"):
        raise InputError(f"{path} names no state that we know, {found['state']!r}; {MEND}")
    rest = {name: value for name, value in found.items() if name != "digest"}
    if found["state"] == "done" and found.get("digest") != fingerprint(rest):
        raise InputError(f"{path} is not the file that was written; {MEND}")
    return found


def check(folder: Path) -> None:
    """Raises InputError where the stage that made this folder is unfinished, or a file is not as it was written.

    A folder without a mark is someone else's, and taken as it is.
    """
    found = read_mark(folder)
    if found is None:
        return
    if found["state"] != "done":
        raise InputError(f"{folder} holds an unfinished {found['stage']}; run its command again")
    _check(folder, found)


def checked(path: Path) -> str:
    """sha256 of a file; where a mark beside it lists it, the one that was written. Raises InputError otherwise."""
    files = (read_mark(path.parent) or {}).get("files", {})
    if path.name in files:
        _check(path.parent, {"files": {path.name: files[path.name]}})
    if not path.is_file():
        raise InputError(f"{path} is not there")
    return sha256_file(path)


def _check(folder: Path, mark: Mapping[str, Any]) -> None:
    for name, digest in mark["files"].items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} was written and is not there; {MEND}")
        if sha256_file(path) != digest:
            raise InputError(f"{path} is not the file that was written; {MEND}")


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
