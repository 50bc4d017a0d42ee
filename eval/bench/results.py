"""Runs the benchmarks one after another and writes eval/bench/RESULTS.md: python -m eval.bench.results [NAME ...]

A section is a benchmark's command and what it printed; sections that are not run again are kept.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import typer

from llm_aug.files import write_text

PAGE = Path(__file__).with_name("RESULTS.md")
BENCHES = {
    "generation": "Requests per second against the loops of transformers.",
    "scoring": "Log-probabilities with and without shared prefixes, computations per second.",
    "determinism": "Percent of rows whose text changes with the batch they are in.",
    "streaming": "100,000 requests to a scripted model: speed and memory of everything around the model.",
    "grounding": "Disturbed titles and absent ones, grounded in the development catalogues by each encoder.",
    "probes": "Planted faults and clean paraphrases of real catalogues through the filter.",
    "duplicates": "Greedy removal of near-duplicates among 100,000 vectors, against semhash and brute force.",
    "cascade": "The whole filter on texts of which 30 % are repeats, against encoding every text.",
    "metrics": "Rankings and metrics of 50,000 users over 20,000 items, against ranx on the same scores.",
    "equality": "iALS, BPR and EASE against implicit and the closed formula: NDCG@20 and its spread over seeds.",
    "latency": "Milliseconds to one new user's top 20 and to one new item, by student.",
    "ray": "Rows a second on Ray's workers against as many plain processes, on one machine.",
    "sizing": "Hours and cost of large catalogues by model size; speeds are scaled by FLOPs.",
    "false_alarms": "How often the same real rows are called a gain or a harm, by student and number of seeds.",
    "crash": "Stages killed at seeded file-system events and run again: equal to an undisturbed run?",
}
ARGUMENTS = {"cascade": ("--texts", "100000", "--sample", "5000")}
SECTION = re.compile(r"^## (\w+)\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def section(name: str) -> str:
    """Runs one benchmark in a process of its own."""
    command = ["-m", f"eval.bench.{name}", *ARGUMENTS.get(name, ())]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    packages = ", ".join(f"{one} {version(one)}" for one in ("torch", "transformers"))
    where = f"`python {' '.join(command)}`, {os.cpu_count()} cores, {platform.machine()}, {packages}"
    return f"## {name}\n\n{BENCHES[name]} {where}:\n\n```\n{done.stdout.rstrip()}\n```\n\n"


def main(names: list[str] = typer.Argument(None)) -> None:  # noqa: B008 (how typer declares many)
    """Without names, all of them: some two hours on two cores, of which the cascade takes one."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    found = {match[1]: match[0] for match in SECTION.finditer(text)}
    for name in names or BENCHES:
        found[name] = section(name)
        title = "# Benchmarks, as `python -m eval.bench.results` measured them"
        write_text(PAGE, "\n\n".join([title, *(found[one].strip() for one in BENCHES if one in found)]) + "\n")


if __name__ == "__main__":
    typer.run(main)
