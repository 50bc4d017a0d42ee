"""Scoring with and without shared prefixes: python -m eval.bench.scoring

One history of 256 tokens against 40 continuations of 24, as a reranker asks it; and 40 prompts that share that history
against 'yes' and 'no', as the judge asks it. The unshared side reads every whole sequence, at its best batch size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from eval.bench.report import Side, show
from llm_aug import seeds
from llm_aug.backends import load_llm
from llm_aug.backends.hf import HF
from llm_aug.backends.scoring import score_rows
from llm_aug.backends.states import pad_left

HISTORY, ENDINGS, LENGTH = 256, 40, 24
UNSHARED_BATCHES = (1, 8, 40)

Rows = list[list[int]]
Scores = NDArray[np.float64]


def drawn(llm: HF, seed: int) -> tuple[list[int], Rows]:
    """A history and its continuations as random tokens: what they say does not matter for their cost."""
    rng = seeds.generator(seed, "bench", "scoring")
    vocabulary = llm.engine.model.config.vocab_size
    history = rng.integers(10, vocabulary, HISTORY).tolist()
    return history, rng.integers(10, vocabulary, (ENDINGS, LENGTH)).tolist()


@torch.inference_mode()
def unshared(llm: HF, prompts: Rows, continuations: Rows, batch_size: int) -> Scores:
    """[prompts, continuations]: every sequence read as a whole; logits only where they are asked for."""
    pairs = [(prompt, ending) for prompt in prompts for ending in continuations]
    sums = []
    for start in range(0, len(pairs), batch_size):
        batch = pairs[start : start + batch_size]
        longest = max(len(ending) for _, ending in batch)
        tokens, mask = pad_left([prompt + ending for prompt, ending in batch], 0, llm.engine.model.device)
        places = (mask.cumsum(1) - 1).clamp(min=0)
        logits = llm.engine.model(tokens, attention_mask=mask, position_ids=places, logits_to_keep=longest + 1).logits
        told = logits[:, :-1].float().log_softmax(-1).gather(-1, tokens[:, -longest:, None])[..., 0].double()
        sums += [float(row[longest - len(ending) :].sum()) for row, (_, ending) in zip(told, batch, strict=True)]
    return np.array(sums).reshape(len(prompts), len(continuations))


def timed(work: Callable[[], Scores], repeats: int) -> tuple[Scores, list[float]]:
    """The result, and computations per second of each repeat; one goes before them unmeasured."""
    scores, speeds = work(), []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        speeds.append(1 / (time.perf_counter() - started))
    return scores, speeds


def compared(llm: HF, name: str, prompts: Rows, continuations: Rows, repeats: int) -> tuple[list[Side], float, float]:
    """Both sides, ours over the best of the unshared ones, and the largest difference of a log-probability."""
    ours, speeds = timed(lambda: score_rows(llm.engine, prompts, continuations), repeats)
    sides, difference = [Side(f"{name}: shared", speeds)], 0.0
    for size in UNSHARED_BATCHES:
        theirs, speeds = timed(lambda size=size: unshared(llm, prompts, continuations, size), repeats)  # type: ignore[misc]
        sides.append(Side(f"{name}: unshared, batch {size}", speeds))
        difference = max(difference, float(np.abs(ours - theirs).max()))
    return sides, sides[0].over(max(sides[1:], key=lambda side: side.middle)), difference


def main(
    json: bool = False, model: str = "builtin:mini", dtype: str = "float32", repeats: int = 15, seed: int = 0
) -> None:
    """Ratios and the largest difference; dtype is float32, since rounding in bfloat16 hides what is to be shown."""
    llm = load_llm(model, dtype=dtype)
    assert isinstance(llm, HF)
    history, endings = drawn(llm, seed)
    answers: Sequence[list[int]] = [llm.engine.rendering.answer_ids(word) for word in ("yes", "no")]
    ranked, ratio, difference = compared(llm, "40 continuations", [history], endings, repeats)
    asked, judged, apart = compared(
        llm, "40 prompts, yes/no", [history + end for end in endings], list(answers), repeats
    )
    ratios = {"vs_unshared": ratio, "judge_vs_unshared": judged}
    show("computations per second", [*ranked, *asked], ratios, json, max_difference=max(difference, apart))


if __name__ == "__main__":
    typer.run(main)
