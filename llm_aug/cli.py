"""The command line: arguments only. Each command is one call into the pipeline, imported when it is called."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from llm_aug import __version__
from llm_aug.cli_stages import (
    Encoder,
    Output,
    Ray,
    Seed,
    SplitFolder,
    filter_samples,
    finetune,
    generate,
    prepare,
    recommend,
    split,
    train,
)
from llm_aug.exits import DEBUG, exit_codes
from llm_aug.signals import STOPS

Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")]
Arms = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=KEPT", help="Samples to judge; the same name twice is one arm of both."),
]
Students = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME[:KEY=VALUE,...]", help="A recommender, some options fixed. Default: all."),
]
Resume = Annotated[str, typer.Option(help="if_possible, always or never.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for a program to read.")]


def demo(output: Output = Path("llm-aug-demo"), seed: Seed = 0, overrides: Set = None, as_json: Json = False) -> None:
    """The whole pipeline on bundled films with the built-in model: offline, some minutes on a laptop."""
    from llm_aug.run import run
    from llm_aug.starters import load_demo

    _show_run(run(load_demo([f"seeds=[{seed}]", *(overrides or ())]), output), as_json)


def init(folder: Annotated[Path, typer.Argument(help="Folder for recipe.yaml.")]) -> None:
    """Write a commented recipe to start from."""
    from llm_aug.starters import write_starter

    typer.echo(write_starter(folder))


def evaluate(
    split: SplitFolder,
    output: Output,
    arm: Arms = None,
    student: Students = None,
    seeds: Annotated[int, typer.Option(min=1, help="Times each student is fitted.")] = 1,
    encoder: Encoder = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Train students with and without each arm, and say with intervals what it was worth."""
    from eval.arguments import parse_arms, parse_students
    from llm_aug import pipeline
    from llm_aug.config import recipe_of

    options = {"students": parse_students(student or ()), "seeds": list(range(seeds))}
    recipe = recipe_of(evaluate=options, encoder=encoder, engine={"ray": ray})
    pipeline.evaluate(recipe, parse_arms(arm or ()), split, output)
    _show_scores(output, as_json)


def report(
    scores: Annotated[list[Path], typer.Argument(metavar="SCORES...", help="Folders that `llm-aug evaluate` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="An .html file, or a folder for it.")],
    title: Annotated[str, typer.Option()] = "llm-aug",
) -> None:
    """One self-contained page: the verdict first, then what it rests on."""
    from llm_aug import pipeline

    typer.echo(pipeline.report(scores, output, title), err=True)


def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="A recipe; `llm-aug init` writes one.")],
    overrides: Set = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: runs/<name of the recipe>.")] = None,
    resume: Resume = "if_possible",
    as_json: Json = False,
) -> None:
    """Every stage of a recipe, skipping what is done, to a verdict and a report."""
    from llm_aug.config import load_recipe
    from llm_aug.run import run as run_recipe

    _show_run(run_recipe(load_recipe(config, overrides or ()), output or Path("runs") / config.stem, resume), as_json)


def optimize(
    config: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="Where the search begins.")],
    output: Output,
    trials: Annotated[int, typer.Option(min=1, help="Recipes to try, the given one among them.")] = 20,
    student: Annotated[str, typer.Option(help="Whose overall NDCG@20 on validation counts.")] = "ease",
    seed: Seed = 0,
    overrides: Set = None,
) -> None:
    """Search volume, filter thresholds, weight and arms on validation alone, for a better recipe."""
    from llm_aug.optimize import Search
    from llm_aug.optimize import optimize as search_recipe

    typer.echo(search_recipe(Search(config, tuple(overrides or ()), student, seed), trials, output), nl=False)


def status(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or of one stage.")],
    as_json: Json = False,
) -> None:
    """What is done, what is running and for how long, what was stopped, and what is to do."""
    from llm_aug.run import status as status_of

    rows = status_of(folder)
    if as_json:
        _show_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['state']:8} {row['folder']:32} {row['line']}".rstrip())


def _show_run(page: Path, as_json: bool) -> None:
    _show_scores(page.parent, as_json)
    typer.echo(f"report: {page}", err=True)


def _show_scores(folder: Path, as_json: bool) -> None:
    from eval.cold_start import summary
    from llm_aug.files import read_json

    if as_json:
        _show_json(read_json(folder / "metrics.json"))
    else:
        typer.echo(summary(folder), nl=False)


def _show_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llm-aug {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="A traceback with every error.")] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"


COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "init": init,
    "prepare": prepare,
    "split": split,
    "finetune": finetune,
    "generate": generate,
    "filter": filter_samples,
    "train": train,
    "recommend": recommend,
    "evaluate": evaluate,
    "report": report,
    "run": run,
    "optimize": optimize,
    "status": status,
}

app = typer.Typer(
    name="llm-aug",
    help="Synthetic data for recommenders, and a believable verdict on it. Begin with: llm-aug demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.callback()(_options)
for _name, _command in COMMANDS.items():
    app.command(_name)(exit_codes()(_command))


def main() -> None:
    """A command handles its signals itself; one that comes while the process ends must not change its exit code.

    Python gives SIGINT its default action back when it ends, but leaves a signal that is ignored ignored.
    """
    for number in STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as behind nohup
            signal.signal(number, lambda number, frame: None)
    try:
        app()
    except SystemExit as ended:
        if ended.code in {128 + number for number in STOPS}:
            for number in STOPS:
                signal.signal(number, signal.SIG_IGN)
        raise


if __name__ == "__main__":
    main()
