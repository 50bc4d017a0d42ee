"""How often rounding lets a row's text depend on its batch: python -m eval.bench.determinism

Every row's noise is a function of its seed, step and token; what is left is the order of floating-point sums, which
changes with the batch. Film descriptions are asked for one by one, in batches of 8 and 64, all at once, and backwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import typer

from eval.bench.report import print_json
from llm_aug import seeds
from llm_aug.backends import LLM, completed, load_llm
from llm_aug.data import Completion, Dataset, Prompt, Request, Sampling
from llm_aug.ingredients import BUNDLED
from llm_aug.tasks import load_task
from llm_aug.tidy import read_interactions, read_items

Answers = list[Completion]


def prompts_of(requests: int, seed: int) -> list[Prompt]:
    folder = BUNDLED / "movielens"
    films = Dataset(read_items(folder / "items.parquet"), read_interactions(folder / "interactions.parquet"))
    task = load_task("rewrite", style="describe", limit=requests, seed=seed)
    return [request.prompt for request in task.requests(films) if isinstance(request, Request)]


def in_batches(llm: LLM, prompts: Sequence[Prompt], sampling: Sampling, size: int, seed: int) -> Answers:
    keys = [seeds.derive(seed, "row", row) for row in range(len(prompts))]
    answers: Answers = []
    for start in range(0, len(prompts), size):
        rows = slice(start, start + size)
        answers += completed(llm, prompts[rows], sampling, keys[rows])
    return answers


def changed(one: Answers, other: Answers) -> float:
    """Share of rows whose text differs, in percent."""
    return 100 * sum(a != b for a, b in zip(one, other, strict=True)) / len(one)


def measure(model: str, dtype: str, requests: int, temperature: float, seed: int) -> dict[str, float]:
    llm, prompts = load_llm(model, dtype=dtype), prompts_of(requests, seed)
    sampling = Sampling(temperature, 0.95, 96)
    alone = in_batches(llm, prompts, sampling, 1, seed)
    found = {
        f"batches of {size}": changed(alone, in_batches(llm, prompts, sampling, size, seed))
        for size in (8, 64, len(prompts))
    }
    keys = [seeds.derive(seed, "row", row) for row in range(len(prompts))]
    backwards = completed(llm, prompts[::-1], sampling, keys[::-1])[::-1]
    return {
        **found,
        "backwards": changed(alone, backwards),
        "alone again": changed(alone, in_batches(llm, prompts, sampling, 1, seed)),
    }


def main(json: bool = False, model: str = "builtin:mini", requests: int = 256, seed: int = 0) -> None:
    """Percent of rows whose text is another than alone, by dtype and temperature."""
    found = {
        f"{dtype}, temperature {temperature}": measure(model, dtype, requests, temperature, seed)
        for dtype in ("float32", "bfloat16")
        for temperature in (0.0, 0.8)
    }
    if json:
        print_json({"unit": "percent of rows", "rows": requests, "changed": found})
        return
    for setting, shares in found.items():
        typer.echo(f"{setting:28} " + ", ".join(f"{name} {share:.1f} %" for name, share in shares.items()))


if __name__ == "__main__":
    typer.run(main)
