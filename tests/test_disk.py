"""A disk that is full, or a folder that is locked: exit 75 with a sentence, nothing half-visible, and it goes on later.

Each command runs in a process of its own, so that its limits are no one else's.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from shop import write_script, write_source

from eval.bench.crash import CHILDREN, contents
from llm_aug.errors import Resumable
from llm_aug.files import read_json, write_json
from llm_aug.stage import Outcome, once

STAGES = ("generate", "filter", "train", "evaluate")
RESULTS = {"evaluate": ("per_user.parquet", "metrics.json", "verdict.txt")}
DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2  # by which root passes over permissions


@dataclass(frozen=True)
class Told:
    code: int | None
    words: str


def limited(told: Connection, cache: Path, bytes_at_most: int, command: list[str]) -> None:
    """The command line, in this process, with files no longer than that (-1: any) and no right to pass permissions."""
    os.dup2(told.fileno(), 2)
    os.environ |= {"LLM_AUG_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    sys.dont_write_bytecode = True
    without_privileges()
    from llm_aug import cli

    if bytes_at_most >= 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_at_most, bytes_at_most))
    sys.argv = ["llm-aug", *command]
    cli.main()


def without_privileges() -> None:
    """root obeys the modes of its files, as anyone else does."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    rights = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, of the first 32 capabilities and the next
    system = ctypes.CDLL(None, use_errno=True)
    assert system.capget(header, rights) == 0
    for place in (0, 1):
        rights[place] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    assert system.capset(header, rights) == 0


def run(*command: object, cache: Path, bytes_at_most: int = -1) -> Told:
    read, write = CHILDREN.Pipe(duplex=False)
    arguments = [str(part) for part in command]
    child = CHILDREN.Process(target=limited, args=(write, cache, bytes_at_most, arguments))
    child.start()
    write.close()
    words = b""
    while part := os.read(read.fileno(), 1 << 16):
        words += part
    child.join()
    return Told(child.exitcode, words.decode())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """source, data, split and each stage's undisturbed output under its name."""
    folder = tmp_path_factory.mktemp("disk")
    write_source(folder / "source")
    write_script(folder / "script.json")
    first = (
        ("prepare", folder / "source", "--column", "item_id=asin", "--output", folder / "data"),
        ("split", folder / "data", "--cold-fraction", 0.3, "--output", folder / "split"),
    )
    for command in (*first, *(command_of(folder, stage, folder / stage) for stage in STAGES)):
        told = run(*command, cache=folder / "cache")
        assert told.code == 0, told.words
    return folder


def command_of(whole: Path, stage: str, output: Path) -> list[object]:
    split, kept = whole / "split", whole / "filter"
    arguments: dict[str, list[object]] = {
        "generate": [split, "--task", "rewrite", "--model", f"scripted:{whole / 'script.json'}"],
        "filter": [whole / "generate", "--split", split, "--encoder", "hash:64"],
        "train": [split, "--synthetic", kept, "--model", "content", "--option", "encoder=hash:64"],
        "evaluate": [split, "--arm", f"text={kept}", "--student", "popularity", "--encoder", "hash:64"],
    }
    return [stage, *arguments[stage], "--output", output]


def rows(stage: str, folder: Path) -> Any:
    if stage not in RESULTS:
        return contents(stage, folder)
    return [(folder / name).read_bytes() for name in RESULTS[stage]]


def largest(folder: Path) -> int:
    return max(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def assert_resumable(told: Told, output: Path) -> None:
    assert told.code == 75, told.words
    assert "Traceback" not in told.words
    last = told.words.splitlines()[-1]
    assert last.startswith("error: cannot write ")
    assert "run again" in last
    assert list(output.parent.rglob("*.tmp")) == []
    if (output / "stage.json").exists():
        assert read_json(output / "stage.json")["state"] == "running"


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.999])
@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk(whole: Path, tmp_path: Path, stage: str, share: float) -> None:
    """No file may be longer than this share of the longest that the stage writes."""
    output = tmp_path / "out" / stage
    command, limit = command_of(whole, stage, output), int(share * largest(whole / stage))
    assert_resumable(run(*command, cache=tmp_path / "cache", bytes_at_most=limit), output)
    told = run(*command, cache=tmp_path / "cache")
    assert told.code == 0, told.words
    assert rows(stage, output) == rows(stage, whole / stage)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [100, 3000, 10_000])
def test_a_full_disk_while_fine_tuning(
    whole: Path, tmp_path: Path, model_folder: Callable[..., Path], limit: int
) -> None:
    """The tiny model's adapter and its checkpoints have some 20 kB."""
    flags = (
        "--task",
        "rewrite",
        "--max-steps",
        2,
        "--lora-r",
        2,
        "--per-device-train-batch-size",
        2,
        "--device",
        "cpu",
    )
    command = ("finetune", whole / "split", "--model", model_folder("llama"), *flags, "--output")
    cache = tmp_path / "cache"
    output = tmp_path / "out" / "adapter"
    assert_resumable(run(*command, output, cache=cache, bytes_at_most=limit), output)
    assert not output.exists()
    for folder in (output, tmp_path / "whole"):
        told = run(*command, folder, cache=cache)
        assert told.code == 0, told.words
    assert contents("finetune", output) == contents("finetune", tmp_path / "whole")
    assert [path.name for path in output.parent.iterdir()] == ["adapter"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_folder_that_may_not_be_written(whole: Path, tmp_path: Path, stage: str) -> None:
    """Neither made in one, nor gone on with in one; what is done there is found done."""
    parent, output, cache = tmp_path / "out", tmp_path / "out" / stage, tmp_path / "cache"
    command = command_of(whole, stage, output)
    parent.mkdir(mode=0o555)
    assert_resumable(run(*command, cache=cache), output)
    assert list(parent.iterdir()) == []
    parent.chmod(0o755)
    shutil.copytree(whole / stage, output)
    mark = read_json(output / "stage.json")
    write_json(output / "stage.json", {**mark, "state": "running"})
    output.chmod(0o555)
    before = sorted(path.name for path in output.iterdir())
    assert_resumable(run(*command, cache=cache), output)
    assert sorted(path.name for path in output.iterdir()) == before
    output.chmod(0o755)
    write_json(output / "stage.json", mark)
    output.chmod(0o555)
    told = run(*command, cache=cache)
    assert (told.code, "done, kept" in told.words) == (0, True), told.words


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES])
@pytest.mark.parametrize("call", ["mkdir", "open", "rename"])
def test_a_disk_that_refuses_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    def never() -> Outcome:
        raise AssertionError("it began")

    place = {"mkdir": (Path, "mkdir"), "open": (os, "open"), "rename": (Path, "replace")}[call]
    with monkeypatch.context() as patched:
        patched.setattr(*place, refused)
        with pytest.raises(Resumable, match=r"cannot write .*; free or unlock it and run again"):
            once(tmp_path / "out", "prepare", {"a": 1}, never)
    assert not (tmp_path / "out" / "stage.json").exists()
    assert once(tmp_path / "out", "prepare", {"a": 1}, lambda: Outcome("1 row")).line == "1 row"
