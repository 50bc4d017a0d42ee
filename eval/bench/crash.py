"""kill -9 at seeded points, then the same command again: are the rows those of an undisturbed run?

python -m eval.bench.crash [--json] [--points 20] [--seed 0] [--stage generate ...]

A child counts what it does to the file system below its folder (files opened for writing, renamed, removed, folders
made) by an audit hook and kills itself before the drawn event; where that is the renaming of a file, half of the times
the file is cut in half first, as a kill in the middle of writing leaves it. No code of the product knows of this.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from eval.bench.crash_child import STEPS, Plan, run
from eval.bench.report import print_json
from llm_aug import seeds
from llm_aug.errors import InputError
from llm_aug.files import read_json, read_parquet, write_json, write_text

# Forked from a process that has imported all but torch: twenty starts would cost more than all of the work.
CHILDREN = get_context("forkserver")
CHILDREN.set_forkserver_preload(["llm_aug.cli", "llm_aug.pipeline"])
RESULTS = {
    "generate": ("samples.parquet", "rejects.parquet"),
    "filter": ("kept.parquet", "dropped.parquet", "scores.parquet"),
    "train": ("arrays.npz", "model.json"),
    "finetune": ("adapter_model.safetensors",),
}
STAGES = tuple(RESULTS)
NEEDED = {"generate": (), "filter": ("generate",), "train": ("generate", "filter"), "finetune": ()}
ITEMS, COPIES = 40, 128  # 5,120 answers are three shards
ASKED = {"generate": ITEMS * COPIES, "filter": 0, "train": 0, "finetune": STEPS}


@dataclass(frozen=True)
class Point:
    """One kill. event: which of `events`. calls: answers of the model, or steps of training, before and after the kill.

    kept: those of `before` whose results were on disk at the kill; what is not kept is done again, nothing else is.
    """

    stage: str
    event: int
    events: int
    killed_at: str
    before: int
    kept: int
    after: int
    asked: int
    same_rows: bool
    left_over: int

    @property
    def good(self) -> bool:
        return self.same_rows and self.after == self.asked - self.kept and not self.left_over


class Bench:
    """folder: scratch. Each stage runs undisturbed first, for its rows and its events, and to feed the next one."""

    def __init__(self, folder: Path, stages: Sequence[str]) -> None:
        self.folder = folder.resolve()
        self.stages = stages
        self.events: dict[str, list[str]] = {}
        write_source(self.folder / "source")
        source, data, split = (str(self.folder / name) for name in ("source", "data", "split"))
        self._undisturbed("prepare", ["prepare", source, "--output", data])
        self._undisturbed("split", ["split", data, "--output", split])
        needed = {*stages, *(other for stage in stages for other in NEEDED[stage])}
        for stage in filter(needed.__contains__, STAGES):
            self.events[stage] = self._undisturbed(stage, self._command(stage, self.folder / "whole" / stage / "out"))
        self.rows = {stage: contents(stage, self.folder / "whole" / stage / "out") for stage in stages}

    def _command(self, stage: str, output: Path) -> list[str]:
        whole = self.folder / "whole"
        split, samples, kept = (
            str(path) for path in (self.folder / "split", whole / "generate/out", whole / "filter/out")
        )
        script = f"scripted:{self.folder / 'source' / 'script.json'}"
        arguments = {
            "generate": [split, "--task", "rewrite", "--model", script, "--copies", str(COPIES)],
            "filter": [samples, "--split", split, "--encoder", "hash:64", "--option", "fidelity.margin=-1"],
            "train": [split, "--synthetic", kept, "--model", "ease"],
            "finetune": [split],
        }
        return [stage, *arguments[stage], *([] if stage == "finetune" else ["--output"]), str(output)]

    def _undisturbed(self, stage: str, command: Sequence[str]) -> list[str]:
        root = self.folder / "whole" / stage
        code, told = self._child(root, command)
        if code:
            raise RuntimeError(f"{stage} ended with {code}: {told}")
        found: list[str] = read_json(beside(root) / "events")
        return found

    def _child(self, root: Path, command: Sequence[str], at: int = 0, torn: bool = False) -> tuple[int | None, str]:
        for folder in (root, beside(root)):
            folder.mkdir(parents=True, exist_ok=True)
        plan = Plan(root, beside(root), self.folder / "cache", at, torn)
        child = CHILDREN.Process(target=run, args=(plan, command))
        child.start()
        child.join()
        return child.exitcode, (beside(root) / "stderr").read_text()

    def kill(self, stage: str, event: int, torn: bool) -> Point:
        """Dies at the event, runs again, compares."""
        seen = self.events[stage]
        root = self.folder / "killed" / f"{stage}-{event}"
        command = self._command(stage, root / "out")
        code, told = self._child(root, command, event, torn)
        if code != -signal.SIGKILL:
            raise RuntimeError(f"{stage} was to die at event {event} of {len(seen)} and ended with {code}: {told}")
        before, kept = calls(root), on_disk(stage, root / "out")
        code, told = self._child(root, command)
        if code:
            raise RuntimeError(f"{stage} ended with {code} after a kill at event {event}: {told}")
        return Point(
            stage=stage,
            event=event,
            events=len(seen),
            killed_at=seen[event - 1] + (" (torn)" if torn and seen[event - 1].startswith("os.rename") else ""),
            before=before,
            kept=kept,
            after=calls(root) - before,
            asked=ASKED[stage],
            same_rows=contents(stage, root / "out") == self.rows[stage],
            left_over=len(list(root.rglob(".*.tmp"))),
        )


def beside(root: Path) -> Path:
    return root.with_name(f"{root.name}.beside")


def calls(root: Path) -> int:
    return (beside(root) / "calls").stat().st_size


def on_disk(stage: str, output: Path) -> int:
    """Answers in whole shards, or steps in a whole checkpoint or adapter, as a kill left them."""
    if stage == "finetune":
        steps = [int(path.name.removeprefix("step-")) for path in output.with_name("out.partial").glob("step-*")]
        return STEPS if output.exists() else max(steps, default=0)
    found = 0
    for path in output.glob("answers/*.parquet"):
        try:
            found += read_parquet(path).num_rows
        except InputError:
            continue
    return found


def contents(stage: str, output: Path) -> dict[str, str]:
    """A digest of each result: of a table its rows in sorted order, of any other file its bytes."""
    found = {}
    for name in RESULTS[stage]:
        path = output / name
        data = path.read_bytes()
        if path.suffix == ".parquet":
            rows = (json.dumps(row, sort_keys=True) for row in read_parquet(path).to_pylist())
            data = "\n".join(sorted(rows)).encode()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def write_source(folder: Path) -> None:
    """A small catalogue with descriptions, a log of 30 users, and a script that says one of several things."""
    words = ["harbour", "engine", "orchard", "violin", "glacier", "market", "lantern", "compass", "meadow", "anchor"]
    lines, pairs = ["item_id,title,description"], ["user_id,item_id,timestamp"]
    for item in range(ITEMS):
        first, second = words[item % 10], words[(item // 10 + item + 1) % 10]
        lines.append(f"i{item},{first} {second} {item},A quiet story of a {first} and the {second} beside it.")
    random = seeds.generator(0, "crash", "log")
    for user in range(30):
        chosen = random.choice(ITEMS, 8, replace=False)
        pairs += [f"u{user},i{item},{1_600_000_000 + 100 * user + turn}" for turn, item in enumerate(chosen)]
    write_text(folder / "items.csv", "\n".join(lines) + "\n")
    write_text(folder / "interactions.csv", "\n".join(pairs) + "\n")
    wordings = [f"In {place}, \\g<title> is told once more by those who know it well." for place in words]
    write_json(folder / "script.json", {"rules": [{"pattern": "Title: (?P<title>.+)", "answer": ["", *wordings]}]})


def draw(events: dict[str, list[str]], points: int, seed: int) -> list[tuple[str, int, bool]]:
    """(stage, event, torn): at least three of each stage as far as points reach, the rest where more events are."""
    random = seeds.generator(seed, "crash", "points")
    sizes = np.array([len(seen) for seen in events.values()])
    least = min(3, points // len(events))
    counts = least + random.multinomial(points - least * len(events), sizes / sizes.sum())
    return [
        (stage, int(event) + 1, bool(random.random() < 0.5))
        for stage, size, count in zip(events, sizes, counts, strict=True)
        for event in sorted(random.choice(size, min(count, size), replace=False))
    ]


def measure(points: int, seed: int, stages: Sequence[str], folder: Path) -> list[Point]:
    bench = Bench(folder, stages)
    drawn = draw({stage: bench.events[stage] for stage in stages}, points, seed)
    return [bench.kill(*one) for one in drawn]


def main(
    points: Annotated[int, typer.Option(min=1)] = 20,
    seed: int = 0,
    stage: Annotated[list[str] | None, typer.Option(help=", ".join(STAGES))] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Exits with 1 where a killed run did not end like an undisturbed one."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(points, seed, stage or STAGES, Path(folder))
    good, seconds = sum(point.good for point in found), round(time.monotonic() - started, 1)
    again = sum(point.before - point.kept for point in found)
    if as_json:
        rows = [{**asdict(point), "good": point.good} for point in found]
        print_json({"points": rows, "good": good, "of": len(found), "done_again": again, "seconds": seconds})
    else:
        sys.stdout.write(_table(found))
        sys.stdout.write(
            f"{good} of {len(found)} as undisturbed; {again} calls or steps were done again; {seconds} s\n"
        )
    if good < len(found):
        raise typer.Exit(1)


def _table(found: Sequence[Point]) -> str:
    lines = [f"{'stage':9} {'event':>8} {'before':>6} {'kept':>6} {'after':>6} {'asked':>6} same  killed at"]
    for point in found:
        numbers = " ".join(f"{number:6}" for number in (point.before, point.kept, point.after, point.asked))
        place = f"{point.event}/{point.events}"
        lines.append(f"{point.stage:9} {place:>8} {numbers} {'yes' if point.good else 'NO':4}  {point.killed_at}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
