"""A whole recipe in one folder: every stage in a numbered folder of its own, then the verdict over all seeds.

RUN/config.resolved.yaml  the recipe with every default     RUN/manifest.json  versions, inputs, stage fingerprints
RUN/01-data               RUN/seed-0/{02-split, 03-adapter, 04-samples-llm, 05-kept-llm, 06-scores}
RUN/{verdict.txt, metrics.json, comparisons.json, report.html, README.md}
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from eval.verdict import write_verdict
from llm_aug import pipeline
from llm_aug.answers import is_locked, locked, say, write_manifest
from llm_aug.card import write_card
from llm_aug.classics import CLASSICS, TEXTS
from llm_aug.config import Recipe, load_recipe
from llm_aug.errors import InputError, ResumeRefused, did_you_mean
from llm_aug.files import is_empty, write_text
from llm_aug.item_controls import ITEM_CONTROLS
from llm_aug.progress import line_of, read_progress, spelled
from llm_aug.stage import Outcome, read_mark
from llm_aug.tasks import TASKS

RESUME = ("if_possible", "always", "never")
CONFIG = "config.resolved.yaml"
PARTIAL = ".partial"
SILENT_SECONDS = 60.0
PART_OF = {"judge": "llm"}  # the part of an arm that a task makes, where it is called otherwise
ASKED = {"llm", *TASKS}  # the parts that a model makes


@dataclass(frozen=True)
class Step:
    stage: str
    folder: Path
    work: Callable[[Path], Outcome]


def parts_of(arm: str) -> tuple[str, ...]:
    """The samples that an arm is made of: llm+rewrite is the llm's pairs and the rewritten texts."""
    return tuple(arm.split("+"))


def steps(recipe: Recipe, run: Path) -> Iterator[Step]:
    """Everything to be done, in order."""
    data = run / "01-data"
    yield Step("prepare", data, partial(pipeline.prepare, recipe))
    for seed in recipe.seeds:
        yield from _of_seed(recipe.at(seed), data, seed_folder(run, seed))


def seed_folder(run: Path, seed: int) -> Path:
    return run / f"seed-{seed}"


def _of_seed(recipe: Recipe, data: Path, root: Path) -> Iterator[Step]:
    split, adapter = root / "02-split", root / "03-adapter"
    names = list(dict.fromkeys(part for arm in recipe.arms for part in parts_of(arm)))
    yield Step("split", split, partial(pipeline.split, recipe, data))
    if recipe.encoder_tuning is not None:
        yield Step("tune_encoder", root / "03-encoder", partial(pipeline.tune_encoder, recipe, split))
        recipe = recipe.model_copy(update={"encoder": str(root / "03-encoder")})
    if recipe.adapter is not None:
        adapter, tuned = Path(recipe.adapter.replace("{seed}", str(recipe.seed))), ASKED.intersection(names)
    else:
        learnt = {entry.partition("/")[0] for entry in (recipe.finetune.tasks if recipe.finetune else ())}
        tuned = {PART_OF.get(task, task) for task in learnt}.intersection(names)
        if tuned:
            yield Step("finetune", adapter, partial(pipeline.finetune, recipe, split))
    # Controls of histories and classics come last: they go by what was kept of others.
    last = [name for name in names if name in (*ITEM_CONTROLS, *CLASSICS)]
    for part in ([name for name in names if name not in last], last):
        for name in part:
            work = partial(_samples(recipe, name, root, names), split, adapter if name in tuned else None)
            yield Step(name, root / f"04-samples-{name}", work)
        for name in part:
            work = partial(pipeline.filter_samples, recipe, root / f"04-samples-{name}", split)
            yield Step("filter", root / f"05-kept-{name}", work)
    arms = {str(arm): [root / f"05-kept-{part}" for part in parts_of(arm)] for arm in recipe.arms}
    yield Step("evaluate", root / "06-scores", partial(pipeline.evaluate, recipe, arms, split))


def _samples(
    recipe: Recipe, name: str, root: Path, names: Sequence[str]
) -> Callable[[Path, Path | None, Path], Outcome]:
    """What makes the samples of one part of an arm: of split, adapter and output."""
    if name in TASKS:
        return partial(pipeline.ask, recipe, name)
    if name in ITEM_CONTROLS:
        source = root / "05-kept-history" if "history" in names else None
        return lambda split, adapter, output: pipeline.controls(recipe, name, split, source, output)
    if name in CLASSICS:
        equalled = ("rewrite",) if recipe.classic(name).style in TEXTS else ("funnel", "history")
        there = [root / f"05-kept-{part}" for part in equalled if part in names]
        return lambda split, adapter, output: pipeline.classic(recipe, name, split, next(iter(there), None), output)
    return partial(pipeline.interactions, recipe, name)


def run(recipe: Recipe, output: Path, resume: str = "if_possible") -> Path:
    """All steps, skipping what is there; returns the path of the report.

    Raises ResumeRefused where the folder does not fit `resume`, or a stage in it was made by another recipe.
    """
    _check_resume(output, resume)
    with locked(output):
        if not (output / CONFIG).exists():
            _describe(recipe, output, "running")
        plan = list(steps(recipe, output))
        for number, step in enumerate(plan, start=1):
            say(f"[{number}/{len(plan)}] {step.folder.relative_to(output)}")
            step.work(step.folder)
        return _conclude(recipe, output, plan)


def _check_resume(output: Path, resume: str) -> None:
    if resume not in RESUME:
        raise InputError(f"--resume {resume}: {did_you_mean(resume, RESUME)}")
    there = output.is_dir() and not is_empty(output)
    if resume == "never" and there:
        raise ResumeRefused(f"{output} is not empty, and --resume never asks for a fresh folder")
    if resume == "always" and not (output / CONFIG).is_file():
        raise ResumeRefused(f"{output} holds no run to go on with, which --resume always asks for")
    if there and not (output / CONFIG).is_file():
        raise ResumeRefused(f"{output} is not empty and holds no run of ours; name another folder")


def _conclude(recipe: Recipe, output: Path, plan: Sequence[Step]) -> Path:
    scores = [step.folder for step in plan if step.stage == "evaluate"]
    write_verdict(output, scores)
    marks = {step.folder.relative_to(output).as_posix(): read_mark(step.folder) or {} for step in plan}
    title = f"llm-aug: {Path(recipe.data.source).name if recipe.data else output.name}"
    write_card(output, title, recipe, marks)
    _describe(recipe, output, "done", stages={name: _shortened(mark) for name, mark in marks.items()})
    return pipeline.report(scores, output, title, output)


def _shortened(mark: dict[str, Any]) -> dict[str, Any]:
    return {name: mark[name] for name in ("stage", "fingerprint", "line", "seconds")}


def _describe(recipe: Recipe, output: Path, state: str, **rest: Any) -> None:
    config = recipe.resolved()
    write_text(output / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    write_manifest(output, config, state, **rest)


def status(folder: Path) -> list[dict[str, Any]]:
    """A row per stage, told from the files: stage, folder, state (done, running, stopped, to do), line, progress.

    folder: of a run or of one stage. Looks without touching, so that it may be asked while the run is at work.
    """
    if (folder / CONFIG).is_file():
        plan = steps(load_recipe(folder / CONFIG), folder)
        return [{**_row(step.folder, folder), "stage": step.stage} for step in plan]
    stage = folder.resolve().parent / folder.resolve().name.removesuffix(PARTIAL)
    row = _row(stage, stage)
    if row["state"] == "to do":
        raise InputError(f"{folder} holds neither a run ({CONFIG}) nor a stage (stage.json)")
    return [row]


def _row(folder: Path, run: Path) -> dict[str, Any]:
    mark = read_mark(folder) or {}
    row = {"stage": mark.get("stage", ""), "folder": folder.relative_to(run).as_posix()}
    if mark.get("state") == "done":
        return {**row, "state": "done", "line": mark["line"], "progress": None}
    partial = folder.parent / (folder.name + PARTIAL)  # where fine-tuning is until it is done
    progress = read_progress(partial) or read_progress(folder)
    running = is_locked(folder) or is_locked(partial)
    started = bool(mark or progress) or partial.exists()
    state = "running" if running else "stopped" if started else "to do"
    line = _line(folder, running, progress) if started else ""
    stage = row["stage"] or (progress or {}).get("stage", "")
    return {**row, "stage": stage, "state": state, "line": line, "progress": progress}


def _line(folder: Path, running: bool, progress: dict[str, Any] | None) -> str:
    """'342/500, 512 tokens/s, 2 min left', or without the speeds that are no more."""
    words = f"{found} answers" if (found := _answers(folder)) else ""
    if progress is not None:
        words = line_of(progress if running else {**progress, "tokens_per_second": None, "seconds_left": None})
    if not running:
        return f"{words}; the same command goes on".removeprefix("; ")
    silent = 0.0 if progress is None else time.time() - progress["updated"]
    return f"{words}, nothing heard for {spelled(silent)}" if silent > SILENT_SECONDS else words


def _answers(folder: Path) -> int:
    rows = 0
    for path in folder.glob("answers/*.parquet"):
        with suppress(OSError, pa.ArrowException):  # a damaged shard is for the run to name
            rows += pq.read_metadata(path).num_rows
    return rows
