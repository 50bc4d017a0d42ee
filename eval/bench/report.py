"""What every benchmark prints: each side's figure with its spread, and the ratios, as a table or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

import typer

from llm_aug.errors import LlmAugError


@dataclass(frozen=True)
class Side:
    """values: one per repeat; more is better."""

    name: str
    values: list[float]

    @property
    def middle(self) -> float:
        return median(self.values)

    def over(self, other: Side) -> float:
        """How many times as good as the other, by medians of the same run."""
        return self.middle / other.middle


def show(unit: str, sides: Sequence[Side], ratios: Mapping[str, float], as_json: bool, **more: Any) -> None:
    """A table for people, or one JSON object {"unit", "sides", "ratio", ...} for a program."""
    if as_json:
        values = {side.name: {"median": side.middle, "values": side.values} for side in sides}
        print_json({"unit": unit, "sides": values, "ratio": dict(ratios), **more})
        return
    width = max(len(name) for name in (unit, *(side.name for side in sides), *ratios))
    lines = [f"{unit:{width}}   median      low     high"]
    for side in sides:
        low, high = min(side.values), max(side.values)
        lines.append(f"{side.name:{width}} {side.middle:8.2f} {low:8.2f} {high:8.2f}")
    lines += [f"{name:{width}} {value:7.2f}x" for name, value in ratios.items()]
    lines += [f"{name:{width}} {value}" for name, value in more.items()]
    sys.stdout.write("\n".join(lines) + "\n")


def start(main: Callable[..., None]) -> None:
    """Runs a benchmark by its command line; what is to be mended is said in a sentence, without a traceback."""
    try:
        typer.run(main)
    except LlmAugError as error:
        raise SystemExit(str(error)) from error


def print_page(title: str, table: str) -> None:
    """Markdown with the command that made it, to be kept beside the benchmark."""
    module = (getattr(sys.modules["__main__"], "__spec__", None) or __spec__).name
    packages = ", ".join(f"{name} {version(name)}" for name in ("llm-aug", "torch", "transformers"))
    command = " ".join(["python -m", module, *sys.argv[1:]])
    sys.stdout.write(f"# {title}\n\n`{command}`, {packages}\n\n{table}")


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")
