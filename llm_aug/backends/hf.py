"""Hugging Face models, causal and encoder-decoder, run in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from llm_aug.backends import LoadOptions, Scores
from llm_aug.backends.decode import decode
from llm_aug.backends.loading import Engine, adapter_revision, load_engine, weights_source
from llm_aug.backends.scoring import score_rows
from llm_aug.backends.trie import LineTrie
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

        In float32 a row's text is equal in every batch but for ties that rounding decides; in bfloat16 these are more
        frequent (eval.bench.determinism).
        """
        rows = self.engine.rendering.prompt_ids(prompts)
        refused = {row: self.engine.refusal(ids, sampling.max_tokens) for row, ids in enumerate(rows)}
        yield from ((row, Completion(why, "error", 0)) for row, why in refused.items() if why)
        yield from decode(self.engine, rows, sampling, seeds, [row for row, why in refused.items() if not why])

    def restricted(self, lines: Sequence[str], most: int) -> HF:
        rendering = self.engine.rendering
        trie = LineTrie(lines, rendering.answer_ids, rendering.ends, most=most)
        return HF(self.name, replace(self.engine, trie=trie), self.adapter)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        """Raises InputError on a continuation without tokens. NaN for a prompt that `complete` would refuse."""
        endings = [self.engine.rendering.answer_ids(continuation) for continuation in continuations]
        if not all(endings):
            raise InputError(f"continuation {continuations[endings.index([])]!r} has no tokens")
        sums = score_rows(self.engine, self.engine.rendering.prompt_ids(prompts), endings)
        return Scores(sums, np.array([len(ending) for ending in endings], dtype=np.int64))
