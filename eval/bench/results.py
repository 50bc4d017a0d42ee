"""Runs the benchmarks one after another and writes eval/bench/RESULTS.md: python -m eval.bench.results [NAME ...]

A section is a benchmark's command and what it printed as JSON, flattened; sections that are not run again are kept.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer

from llm_aug.files import write_text

PAGE = Path(__file__).with_name("RESULTS.md")
BENCHES = {
    "generation": "Requests per second against the loops of transformers.",
    "scoring": "Log-probabilities with and without shared prefixes, computations per second.",
    "determinism": "Percent of rows whose text changes with the batch they are in.",
    "streaming": "100,000 requests to a scripted model: speed and memory of everything around the model.",
    "crash": "Stages killed at seeded file-system events and run again: equal to an undisturbed run?",
}
SECTION = re.compile(r"^## (\w+)\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
MOST_ROWS = 60


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and printable values; a list of numbers is told by its ends."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and all(isinstance(one, int | float) for one in value):
        yield path, f"{min(value):.4g} to {max(value):.4g} ({len(value)})"
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from flat(inner, f"{path}.{number}")
    else:
        yield path, f"{value:.4g}" if isinstance(value, float) else str(value)


def section(name: str) -> str:
    """Runs one benchmark in a process of its own."""
    command = ["-m", f"eval.bench.{name}", "--json"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    rows = list(flat(json.loads(done.stdout)))
    lines = [f"| {key} | {value} |" for key, value in rows[:MOST_ROWS]]
    cores, packages = os.cpu_count(), ", ".join(f"{one} {version(one)}" for one in ("torch", "transformers"))
    return "\n".join(
        [
            f"## {name}",
            "",
            f"{BENCHES[name]} `python {' '.join(command)}`; {cores} cores, {platform.machine()}, {packages}.",
            "",
            "| figure | value |",
            "|---|---|",
            *lines,
            "",
            "",
        ]
    )


def main(names: list[str] = typer.Argument(None)) -> None:  # noqa: B008 (how typer declares many)
    """Without names, all of them: some half an hour on two cores."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    found = {match[1]: match[0] for match in SECTION.finditer(text)}
    for name in names or BENCHES:
        found[name] = section(name)
        ordered = "".join(found[one] for one in BENCHES if one in found)
        write_text(PAGE, f"# Benchmarks, as `python -m eval.bench.results` measured them\n\n{ordered}".rstrip() + "\n")


if __name__ == "__main__":
    typer.run(main)
