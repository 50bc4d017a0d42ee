"""Hours and money for a large run, from measured speeds: python -m eval.bench.sizing --measured NAME:READ:WRITE ...

READ and WRITE: tokens per second that one device (a GPU, a CPU core) reads of prompts and writes of answers, all
batches full: for our engines as `eval.bench.scoring` and `eval.bench.generation` tell, for a server from its log.

    seconds = (tokens read / READ + tokens written / WRITE) / devices          cost = hours x devices x price
    generate: rows x copies x (prompt tokens read + answer tokens written)
    score:    pairs x (item tokens + history tokens / pairs of a user), none written: in our own engine, which reads a
              history once; pairs x 2 x (item tokens + history tokens) by vLLM and servers, which read every prompt as
              a whole, once for yes and once for no

Without --measured the built-in model's speeds on one CPU thread are measured and scaled by FLOPs: 2 x parameters x
tokens, at the same FLOP/s. A larger model's matrices do better than that, its cache and its memory's bandwidth worse;
such rows say so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import typer

from eval.bench.generation import make_work, run_ours
from eval.bench.report import start
from llm_aug.backends import load_llm
from llm_aug.backends.hf import HF
from llm_aug.backends.scoring import score_rows
from llm_aug.data import Sampling
from llm_aug.errors import InputError

REQUESTS = 256  # of which speeds are measured
GPU_PRICE, CORE_PRICE = 2.0, 0.05  # dollars an hour, of the order that clouds ask
BILLIONS = (0.5, 1.5, 7.0, 70.0)


@dataclass(frozen=True)
class Speed:
    """Of one device, in tokens per second. note: how it is known."""

    name: str
    read: float
    write: float
    note: str = "measured"


@dataclass(frozen=True)
class Work:
    """In tokens, of all rows."""

    name: str
    read: float
    written: float = 0.0


def generation(items: int, copies: int, prompt: int, answer: int) -> Work:
    rows = items * copies
    return Work(f"{items:,} items x {copies} rewrites", rows * prompt, rows * answer)


def scoring(pairs: int, item: int, history: int, pairs_of_user: int) -> Work:
    return Work(f"{pairs:,} scored pairs", pairs * (item + history / pairs_of_user))


def scoring_whole(pairs: int, item: int, history: int) -> Work:
    return Work(f"{pairs:,} scored pairs, prompts read whole", pairs * 2 * (item + history))


def hours(work: Work, speed: Speed, devices: int) -> float:
    return (work.read / speed.read + work.written / speed.write) / devices / 3600


def of_mini(requests: int = REQUESTS, seed: int = 0) -> tuple[Speed, int]:
    """The built-in model's speeds on one thread, batches full, and how many parameters it has."""
    torch.set_num_threads(1)
    llm = load_llm("builtin:mini", dtype="float32")
    assert isinstance(llm, HF)
    work, engine = make_work(llm, requests, seed), llm.engine
    answer, end = engine.rendering.answer_ids("yes"), int(engine.model.config.eos_token_id)
    started = time.perf_counter()
    score_rows(engine, work.ids, [answer])
    reading = time.perf_counter() - started
    written = run_ours(llm, work, Sampling(temperature=0.8, max_tokens=max(work.ends)), end)
    writing = max(time.perf_counter() - started - 2 * reading, 1e-9)
    read = sum(map(len, work.ids)) / reading
    return Speed("builtin:mini, CPU core", read, written / writing), engine.model.num_parameters()


def scaled(billions: float, small: Speed, parameters: int) -> Speed:
    """The speeds of a small model divided by how many times as many parameters there are."""
    times = billions * 1e9 / parameters
    return Speed(f"{billions:g}B, CPU core", small.read / times, small.write / times, "extrapolated by FLOPs")


def parsed(measured: str) -> Speed:
    """'7B on H100:40000:6000'. Raises InputError."""
    name, *figures = measured.rsplit(":", 2)
    try:
        read, write = map(float, figures)
    except ValueError:
        read = write = 0.0
    if not (name and read > 0 and write > 0):
        raise InputError(f"--measured {measured!r} is not NAME:READ:WRITE with tokens per second, as in 7B:40000:6000")
    return Speed(name, read, write)


def table(works: Sequence[Work], speeds: Iterable[Speed], devices: Sequence[int], price: float) -> str:
    """Markdown; price: of a device for an hour."""
    lines = [
        "| work | model and device | tokens/s read, written | speeds | devices | hours | cost |",
        "|---|---|---|---|---|---|---|",
    ]
    for work in works:
        for speed in speeds:
            for count in devices:
                each = hours(work, speed, count)
                figures = f"{speed.read:,.1f}, {speed.write:,.1f} | {speed.note} | {count:,}"
                lines.append(f"| {work.name} | {speed.name} | {figures} | {each:,.1f} | {each * count * price:,.0f} |")
    return "\n".join(lines) + "\n"


def main(
    measured: Annotated[list[str] | None, typer.Option(metavar="NAME:READ:WRITE", help="Tokens per second.")] = None,
    devices: Annotated[list[int] | None, typer.Option(min=1, help="GPUs or cores; may be repeated.")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Of a device for an hour, in any currency.")] = None,
    items: int = 1_000_000,
    copies: int = 3,
    prompt_tokens: int = 200,
    answer_tokens: int = 100,
    pairs: int = 100_000_000,
    item_tokens: int = 30,
    history_tokens: int = 250,
    pairs_of_user: Annotated[int, typer.Option(min=1)] = 20,
) -> None:
    works = [
        generation(items, copies, prompt_tokens, answer_tokens),
        scoring(pairs, item_tokens, history_tokens, pairs_of_user),
        scoring_whole(pairs, item_tokens, history_tokens),
    ]
    if measured:
        speeds = [parsed(one) for one in measured]
    else:
        small, parameters = of_mini()
        speeds = [small, *(scaled(size, small, parameters) for size in BILLIONS)]
    if price is None:
        price = GPU_PRICE if measured else CORE_PRICE
    sys.stdout.write(table(works, speeds, devices or [1, 8, 64], price))


if __name__ == "__main__":
    start(main)
