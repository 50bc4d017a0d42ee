"""What a Ray cluster costs on one machine: python -m eval.bench.ray [--json] [--rows 512] [--workers 2]

The same rows by as many plain processes, each with an equal share known ahead, and by Ray workers, to which batches are
handed as they ask; both loaded and warm, one thread each. Then a call of one row, which is the way there and back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from statistics import median
from typing import Annotated

import typer

from eval.bench.report import Side, show, start
from llm_aug import seeds
from llm_aug.backends import LLM, completed, load_llm
from llm_aug.cluster import Cluster
from llm_aug.data import Completion, Prompt, Sampling

WORDS = ("quiet", "film", "old", "harbour", "sisters", "sell", "paper", "boats", "wait", "rain", "a", "the", "of")
LONGEST_PROMPT = 120  # words
SAMPLING = Sampling(0.8, 0.95, 32)
ONE_ROW_CALLS = 20


@cache
def loaded(model: str) -> LLM:
    """Once in each process."""
    return load_llm(model, device="cpu")


def prompts_of(rows: int, seed: int) -> list[Prompt]:
    rng = seeds.generator(seed, "bench", "ray")
    return [Prompt("", " ".join(rng.choice(WORDS, rng.integers(8, LONGEST_PROMPT)))) for _ in range(rows)]


def share(model: str, prompts: Sequence[Prompt], keys: Sequence[int]) -> list[Completion]:
    return completed(loaded(model), prompts, SAMPLING, keys)


class Processes:
    """Plain processes, every one with each n-th row."""

    def __init__(self, model: str, workers: int):
        self.model, self.workers = model, workers
        self.pool = ProcessPoolExecutor(workers, get_context("spawn"))

    def answers(self, prompts: Sequence[Prompt]) -> list[Completion]:
        shares = [range(first, len(prompts), self.workers) for first in range(self.workers)]
        told = [self.pool.submit(share, self.model, [prompts[row] for row in rows], list(rows)) for rows in shares]
        found = {
            row: answer
            for rows, one in zip(shares, told, strict=True)
            for row, answer in zip(rows, one.result(), strict=True)
        }
        return [found[row] for row in range(len(prompts))]


def on_ray(model: str, workers: int) -> LLM:
    return load_llm(model, device="cpu", cluster=Cluster("local", workers, gpus=0))


def main(
    rows: Annotated[int, typer.Option(min=1)] = 512,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    model: str = "builtin:mini",
    seed: int = 0,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.update(RAY_worker_niceness="0")  # its default of 15 is what one would measure on a busy machine
    prompts = prompts_of(rows, seed)
    plain, many = Processes(model, workers), on_ray(model, workers)
    sides: dict[str, Callable[[Sequence[Prompt]], list[Completion]]] = {
        f"{workers} processes": plain.answers,
        f"{workers} Ray workers": lambda asked: completed(many, asked, SAMPLING, range(len(asked))),
    }
    answers, speeds = {}, {name: list[float]() for name in sides}
    for ask in sides.values():
        ask(prompts[: 8 * workers])  # each loads its model
    for _ in range(repeats):
        for name, ask in sides.items():
            started = time.perf_counter()
            answers[name] = ask(prompts)
            speeds[name].append(rows / (time.perf_counter() - started))
    processes, spread = (Side(name, values) for name, values in speeds.items())
    trip = 1000 * (_one_row(partial(completed, many)) - _one_row(partial(completed, loaded(model))))
    same = "equal" if answers[processes.name] == answers[spread.name] else "DIFFERENT"
    ratio = {"Ray over processes": spread.over(processes)}
    show("rows per second", [processes, spread], ratio, as_json, answers=same, way_there_and_back_ms=round(trip, 1))
    plain.pool.shutdown()


def _one_row(ask: partial[list[Completion]]) -> float:
    """Seconds of a call of one row of one token."""
    seconds = []
    for key in range(ONE_ROW_CALLS):
        started = time.perf_counter()
        ask([Prompt("", "film")], Sampling(0.0, 1.0, 1), [key])
        seconds.append(time.perf_counter() - started)
    return median(seconds)


if __name__ == "__main__":
    start(main)
