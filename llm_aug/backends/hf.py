"""Hugging Face models, causal and encoder-decoder, run in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from llm_aug.backends import LoadOptions, Scores
from llm_aug.backends.batching import batches_by_length, run_batches
from llm_aug.backends.decode import decode
from llm_aug.backends.loading import Engine, adapter_revision, load_engine, weights_source
from llm_aug.backends.scoring import score_rows
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.errors import InputError


def load(name: str, options: LoadOptions) -> HF:
    adapter = "" if options.adapter is None else adapter_revision(options.adapter)
    return HF(name, load_engine(name, options), adapter)


def load_builtin(name: str, options: LoadOptions) -> HF:
    adapter = "" if options.adapter is None else adapter_revision(options.adapter)
    return HF(f"builtin:{name}", load_engine(weights_source(f"builtin:{name}"), options), adapter)


class HF:
    """An LLM. revision: the hub's commit, or a hash of a local folder's weights; adapter: such a hash, or ''."""

    def __init__(self, name: str, engine: Engine, adapter: str = ""):
        self.name = name
        self.revision = engine.revision
        self.adapter = adapter
        self.engine = engine

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Completion]]:
        """A prompt too long for the model, or for memory even alone, fails alone: finish 'error', text says why.

        In float32 a row's text is equal in every batch; in bfloat16 rounding can flip a near tie.
        """
        rows = self.engine.rendering.prompt_ids(prompts)
        done = [Completion(self.engine.refusal(row, sampling.max_tokens), "error", 0) for row in rows]
        costs = [len(row) + sampling.max_tokens for row in rows]

        def plan(left: Sequence[int]) -> list[list[int]]:
            return batches_by_length(left, costs, self.engine.budget)

        def run(batch: list[int]) -> None:
            answers = decode(self.engine, [rows[row] for row in batch], sampling, [seeds[row] for row in batch])
            for row, answer in zip(batch, answers, strict=True):
                done[row] = answer

        fitting = [row for row, completion in enumerate(done) if not completion.text]
        for row in run_batches(fitting, costs, self.engine.budget, plan, run):
            done[row] = Completion(f"no memory for a prompt of {len(rows[row])} tokens even alone", "error", 0)
        yield from enumerate(done)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        """Raises InputError on a continuation without tokens. NaN for a prompt that `complete` would refuse."""
        endings = [self.engine.rendering.answer_ids(continuation) for continuation in continuations]
        if not all(endings):
            raise InputError(f"continuation {continuations[endings.index([])]!r} has no tokens")
        sums = score_rows(self.engine, self.engine.rendering.prompt_ids(prompts), endings)
        return Scores(sums, np.array([len(ending) for ending in endings], dtype=np.int64))
