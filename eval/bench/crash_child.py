"""A command of llm-aug that kills itself at a given event of the file system: the child of eval.bench.crash."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from llm_aug.files import write_json

STEPS, SAVE_STEPS = 6, 2
EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Watch:
    """An audit hook. at: the event to die before, counted from 1; 0 is none. torn: cuts a file that is renamed then."""

    root: str
    at: int = 0
    torn: bool = False
    seen: list[str] = field(default_factory=list)
    _removing: bool = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or not self._ours(event, arguments):
            return
        name = Path(os.fsdecode(arguments[0])).name
        self.seen.append(f"{event} {re.sub('[0-9a-f]{32}', '*', name)}")
        if len(self.seen) != self.at:
            return
        self.at = 0
        if self.torn and event == "os.rename" and Path(arguments[0]).is_file():
            os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    def _ours(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if isinstance(arguments[0], int):
            return False
        path = os.fsdecode(arguments[0])
        # Progress is told by the clock: counted, it would make two runs' events differ.
        within = path.startswith(self.root) and not re.match(
            r"out(\.partial)?/\.?progress\.json", path.removeprefix(self.root)
        )
        if event == "open":
            return within and bool(arguments[2] & WRITES)
        if event == "shutil.rmtree":
            self._removing = within
        # rmtree names what it removes relative to an open folder.
        relative = event in ("os.remove", "os.rmdir") and arguments[1] not in (-1, None)
        return within or (relative and self._removing)


@dataclass(frozen=True)
class Plan:
    """root: the watched folder, with the output `out` in it. at, torn: see Watch. beside: a folder for what is told:

    stderr, calls (a byte for each answer of a model or step of training) and, of a child that was not killed, events.
    """

    root: Path
    beside: Path
    cache: Path
    at: int = 0
    torn: bool = False


def run(plan: Plan, command: Sequence[str]) -> None:
    """In a process of its own, whose exit code is the command's."""
    os.environ |= {"LLM_AUG_CACHE": str(plan.cache), "OMP_NUM_THREADS": "1"}
    stderr = os.open(plan.beside / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(stderr, stream)
    calls = os.open(plan.beside / "calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)  # a kill cannot take it back
    watch = Watch(f"{plan.root}/", plan.at, plan.torn)
    sys.addaudithook(watch)
    try:
        _finetune(calls, *command[1:]) if command[0] == "finetune" else _command(calls, command)
    finally:
        write_json(plan.beside / "events", watch.seen)


def _command(calls: int, arguments: Sequence[str]) -> None:
    from llm_aug import cli
    from llm_aug.backends.scripted import Scripted

    complete = Scripted.complete

    def counted(self: Scripted, *given: Any) -> Any:
        for found in complete(self, *given):
            os.write(calls, b".")
            yield found

    with mock.patch.object(Scripted, "complete", counted), mock.patch.object(sys, "argv", ["llm-aug", *arguments]):
        cli.main()


def _finetune(calls: int, split: str, output: str) -> None:
    """As the command does, but with more checkpoints than its flags allow."""
    from llm_aug import finetune_loop, pipeline
    from llm_aug.config import recipe_of
    from llm_aug.exits import exit_codes

    take_step = finetune_loop.take_step

    def counted(*given: Any) -> Any:
        found = take_step(*given)
        os.write(calls, b".")
        return found

    options = {"tasks": ["rewrite"], "max_steps": STEPS, "save_steps": SAVE_STEPS, "per_device_train_batch_size": 2}
    recipe = recipe_of(finetune={**options, "lora_r": 2, "max_length": 128}, engine={"device": "cpu"})
    with exit_codes(), mock.patch.object(finetune_loop, "take_step", counted):
        pipeline.finetune(recipe, Path(split), Path(output))
