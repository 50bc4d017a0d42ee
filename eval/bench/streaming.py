"""What the loop around a model costs, at any size: python -m eval.bench.streaming [--json] [--requests 100000]

A scripted model answers at once, so that all the time and memory are those of rendering, asking, shards, parsing and
the final files. Once in a fresh folder, once going on in a folder that was left half finished; each in a new process.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from eval.bench.report import print_json
from llm_aug import seeds
from llm_aug.backends.scripted import Scripted
from llm_aug.data import Completion, Dataset, Prompt, Sampling, tidy_interactions, tidy_items
from llm_aug.files import sha256_file
from llm_aug.generate import GenerateOptions, generate
from llm_aug.signals import Interrupted
from llm_aug.tasks.rewrite import Rewrite

WORDS = ("quiet", "film", "old", "harbour", "sisters", "sell", "paper", "boats", "wait", "rain", "a", "the", "of")
ANSWER_WORDS = 40
MIB = 2**20
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on a Mac, in KiB elsewhere


@dataclass(frozen=True)
class Measured:
    """asked: calls of the model. bytes_per_request: what the peak grew by while generating. digest: of the samples."""

    requests_per_second: float
    peak_mib: float
    bytes_per_request: float
    asked: int
    parsed: int
    digest: str


class Cut(Scripted):
    """Is interrupted after so many answers, as by Ctrl-C."""

    def __init__(self, answers: float):
        super().__init__(_answer, lambda prompt, continuation: 0.0)
        self.left = answers

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, row_seeds: Sequence[int]
    ) -> Iterator[tuple[int, Completion]]:
        for answered in super().complete(prompts, sampling, row_seeds):
            if self.left <= 0:
                raise KeyboardInterrupt
            self.left -= 1
            yield answered


def catalogue(items: int) -> Dataset:
    """Titles of four words and a number, three genres and a year."""
    rng = seeds.generator(0, "bench", "streaming")
    words = rng.choice(WORDS, (items, 7))
    rows = {
        "item_id": [f"i{number}" for number in range(items)],
        "title": [f"{' '.join(row[:4])} {number}" for number, row in enumerate(words)],
        "genres": ["|".join(row[4:]) for row in words],
        "year": [str(1950 + number % 75) for number in range(items)],
    }
    return Dataset(tidy_items(pd.DataFrame(rows)), tidy_interactions(pd.DataFrame({"user_id": [], "item_id": []})))


def _answer(prompt: Prompt, sampling: Sampling, seed: int) -> str:
    return "It is " + " ".join(WORDS[(seed >> place) % len(WORDS)] for place in range(ANSWER_WORDS)) + "."


def begin(requests: int, folder: Path, answers: float) -> None:
    """Leaves the folder as a run does that is stopped after so many answers."""
    with suppress(Interrupted):
        generate(Rewrite(), catalogue(requests), Cut(answers), GenerateOptions(), folder)


def measure(requests: int, folder: Path) -> Measured:
    dataset, llm = catalogue(requests), Cut(float("inf"))
    before, started = _peak(), time.monotonic()
    result = generate(Rewrite(), dataset, llm, GenerateOptions(), folder)
    seconds, after = time.monotonic() - started, _peak()
    return Measured(
        requests_per_second=round(requests / seconds, 1),
        peak_mib=round(after / MIB, 1),
        bytes_per_request=round((after - before) / requests, 1),
        asked=llm.rows,
        parsed=result.parsed,
        digest=sha256_file(folder / "samples.parquet"),
    )


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def bench(requests: int, folder: Path) -> dict[str, Measured]:
    """fresh, and resumed from half of the answers."""
    half = folder / "half"
    work: dict[str, list[Callable[[], Measured | None]]] = {
        "fresh": [partial(measure, requests, folder / "fresh")],
        "resumed": [partial(begin, requests, half, requests / 2), partial(measure, requests, half)],
    }
    found: dict[str, Measured] = {}
    for name, steps in work.items():
        for step in steps:
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                made = process.submit(step).result()
        assert made is not None
        found[name] = made
    return found


def main(
    requests: Annotated[int, typer.Option(min=2)] = 100_000,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = bench(requests, Path(folder))
    same = found["fresh"].digest == found["resumed"].digest
    if as_json:
        print_json({"requests": requests, **{name: asdict(one) for name, one in found.items()}, "same_samples": same})
        return
    lines = [f"{requests} requests   per second   peak MiB   bytes each   model calls"]
    for name, one in found.items():
        figures = (
            f"{one.requests_per_second:12,.0f} {one.peak_mib:10,.0f} {one.bytes_per_request:12,.0f} {one.asked:13,}"
        )
        lines.append(f"{name:{len(str(requests)) + 9}} {figures}")
    lines.append(f"samples.parquet of both: {'equal, byte by byte' if same else 'DIFFERENT'}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
