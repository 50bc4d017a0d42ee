"""Requests per second against the loops of transformers, every side in one run: python -m eval.bench.generation

Prompts of 16 to 400 tokens; each answer ends by itself after 8 to 128 tokens. The rule that ends it is shared and is
told to no side ahead, but to `generate_batch`, which takes no such rule: its requests know their length.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
import typer
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    ContinuousBatchingConfig,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    pipeline,
)

from eval.bench.report import Side, show
from llm_aug import seeds
from llm_aug.backends import completed, draw, load_llm
from llm_aug.backends.hf import HF
from llm_aug.backends.loading import weights_source
from llm_aug.data import Prompt, Sampling

SHORTEST, LONGEST, FEWEST, MOST = 16, 400, 8, 128
PIPELINE_BATCHES = (8, 16, 32, 64, 128, 256)
WORDS = ("quiet", "film", "old", "harbour", "sisters", "sell", "paper", "boats", "wait", "rain", "a", "the", "of")


@dataclass(frozen=True)
class Work:
    """texts: as the model reads them. ids: their tokens. ends: after how many tokens each answer ends. keys: seeds."""

    prompts: list[Prompt]
    texts: list[str]
    ids: list[list[int]]
    ends: list[int]
    keys: list[int]


def make_work(llm: HF, requests: int, seed: int) -> Work:
    """Prompts of words, each cut so that the model reads the wanted number of tokens, all different."""
    rng = seeds.generator(seed, "bench", "generation")
    overhead = len(llm.engine.rendering.prompt_ids([Prompt("", "film")])[0])
    prompts = []
    for number, tokens in enumerate(rng.integers(SHORTEST, LONGEST + 1, requests)):
        drawn = rng.choice(WORDS, max(1, int(tokens) - overhead))
        prompts.append(Prompt("", _cut(llm, f"{number} {' '.join(drawn)}", int(tokens))))
    rendering = llm.engine.rendering
    ends = [int(end) for end in rng.integers(FEWEST, MOST + 1, requests)]
    keys = [seeds.derive(seed, "row", row) for row in range(requests)]
    return Work(prompts, [rendering.text(prompt) for prompt in prompts], rendering.prompt_ids(prompts), ends, keys)


def _cut(llm: HF, text: str, tokens: int) -> str:
    """The longest beginning of the text, word by word, that the model reads as at most so many tokens."""
    words = text.split()
    low, high = 1, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        fits = len(llm.engine.rendering.prompt_ids([Prompt("", " ".join(words[:middle]))])[0]) <= tokens
        low, high = (middle, high) if fits else (low, middle - 1)
    return " ".join(words[:low])


@contextlib.contextmanager
def ending_by_seed(work: Work, end_token: int) -> Iterator[None]:
    """Our side's rule: a row of `next_tokens` ends when its own step has come."""
    drawn = draw.next_tokens
    lengths = dict(zip(work.keys, work.ends, strict=True))

    def next_tokens(logits: Tensor, sampling: Sampling, keys: Tensor, steps: Tensor) -> Tensor:
        due = steps >= torch.tensor([lengths[key] for key in keys.tolist()])
        return drawn(_ruled(logits, due, end_token), sampling, keys, steps)

    with mock.patch.object(draw, "next_tokens", next_tokens):
        yield


class EndingByPrompt(LogitsProcessor):
    """The rule of the pipeline's side: a row is known by its prompt, which its tokens begin with."""

    def __init__(self, work: Work, pad: int, end_token: int):
        self.lengths = {tuple(ids): end for ids, end in zip(work.ids, work.ends, strict=True)}
        self.pad, self.end_token = pad, end_token
        self.before = torch.zeros((0, 0), dtype=torch.long)
        self.due = torch.zeros(0)
        self.step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self.before.shape != input_ids[:, :-1].shape or not torch.equal(self.before, input_ids[:, :-1]):
            prompts = [tuple(token for token in row if token != self.pad) for row in input_ids.tolist()]
            self.due = torch.tensor([self.lengths[prompt] for prompt in prompts])
            self.step = 0
        ruled = _ruled(scores, self.due <= self.step, self.end_token)
        self.before, self.step = input_ids, self.step + 1
        return ruled


def _ruled(logits: Tensor, due: Tensor, end_token: int) -> Tensor:
    """The end is certain where it is due, and impossible before."""
    logits = logits.clone()
    logits[:, end_token] = torch.where(due, 1e4, -1e4).to(logits.dtype)
    return logits


def run_ours(llm: HF, work: Work, sampling: Sampling, end_token: int) -> int:
    with ending_by_seed(work, end_token):
        return sum(answer.n_tokens for answer in completed(llm, work.prompts, sampling, work.keys))


def run_pipeline(pipe: Any, work: Work, sampling: Sampling, end_token: int, batch_size: int) -> int:
    rule = EndingByPrompt(work, pipe.tokenizer.pad_token_id, end_token)
    options = _options(sampling) | {"eos_token_id": end_token, "pad_token_id": pipe.tokenizer.pad_token_id}
    made = pipe(
        work.texts,
        batch_size=batch_size,
        return_tensors=True,
        logits_processor=LogitsProcessorList([rule]),
        **options,
    )
    return sum(
        (np.array(answer[0]["generated_token_ids"]) != pipe.tokenizer.pad_token_id).sum() - len(ids) - 1
        for answer, ids in zip(made, work.ids, strict=True)
    )


def run_generate_batch(model: Any, work: Work, sampling: Sampling, end_token: int) -> int:
    """Continuous batching of transformers, as many requests at once as there are, each with its length told."""
    config = GenerationConfig(**_options(sampling), eos_token_id=-1, pad_token_id=0)
    made, memory = 0, ContinuousBatchingConfig(num_blocks=2048, max_batch_tokens=2048, page_size=32)
    with model.continuous_batching_context_manager(
        config, block=True, timeout=30, continuous_batching_config=memory
    ) as manager:
        for ids, end in zip(work.ids, work.ends, strict=True):
            manager.add_request(ids, max_new_tokens=end)
        finished = 0
        while finished < len(work.ids):
            result = manager.get_result(timeout=60)
            if result is None:
                raise RuntimeError("generate_batch ended before its requests did")
            if result.is_finished():
                finished += 1
                made += len(result.generated_tokens)
    return made


def _options(sampling: Sampling) -> dict[str, Any]:
    drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return {"max_new_tokens": MOST + 1, "do_sample": sampling.temperature > 0} | (drawn if sampling.temperature else {})


def sides(model: str, work: Work, llm: HF, sampling: Sampling, batches: Sequence[int]) -> dict[str, Callable[[], int]]:
    """By name, what runs all the work and returns how many tokens it wrote."""
    source = weights_source(model)
    [end_token] = llm.engine.rendering.end
    tokenizer = AutoTokenizer.from_pretrained(source)
    theirs = AutoModelForCausalLM.from_pretrained(source)
    pipe = pipeline("text-generation", model=theirs, tokenizer=tokenizer)
    paged = AutoModelForCausalLM.from_pretrained(source)
    by_batch: dict[str, Callable[[], int]] = {
        f"pipeline, batch_size={size}": lambda size=size: run_pipeline(pipe, work, sampling, end_token, size)  # type: ignore[misc]
        for size in batches
    }
    return {
        "llm-aug": lambda: run_ours(llm, work, sampling, end_token),
        **by_batch,
        "generate_batch": lambda: run_generate_batch(paged, work, sampling, end_token),
    }


def measure(
    model: str, requests: int, repeats: int, temperature: float, seed: int, batches: Sequence[int]
) -> list[Side]:
    llm = load_llm(model)
    assert isinstance(llm, HF)
    work = make_work(llm, requests, seed)
    sampling = Sampling(temperature, 0.95, MOST + 1)
    found: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, run in sides(model, work, llm, sampling, batches).items():
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                started = time.perf_counter()
                written = run()
            found.setdefault(name, []).append(requests / (time.perf_counter() - started))
            assert written == sum(work.ends), f"{name} wrote {written} tokens of {sum(work.ends)}"
    return [Side(name, speeds) for name, speeds in found.items()]


def main(
    json: bool = False,
    model: str = "builtin:mini",
    requests: int = 512,
    repeats: int = 1,
    temperature: float = 0.8,
    seed: int = 0,
) -> None:
    """Ours, the pipeline of transformers at several batch sizes, and its continuous batching."""
    found = measure(model, requests, repeats, temperature, seed, PIPELINE_BATCHES)
    pipelines = [side for side in found if side.name.startswith("pipeline")]
    best = max(pipelines, key=lambda side: side.middle)
    ours, batched = found[0], found[-1]
    ratios = {
        "vs_pipeline_batch8": ours.over(pipelines[0]),
        "vs_pipeline_best": ours.over(best),
        "vs_generate_batch": ours.over(batched),
    }
    show("requests per second", found, ratios, json)


if __name__ == "__main__":
    typer.run(main)
