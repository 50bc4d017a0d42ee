"""Hugging Face models, causal and encoder-decoder, run in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from llm_aug.backends import Barred, LoadOptions, Scores
from llm_aug.backends.decode import Begun, decode
from llm_aug.backends.loading import Engine, adapter_revision, load_engine, weights_source
from llm_aug.backends.scoring import score_rows
from llm_aug.backends.trie import LineTrie
from llm_aug.data import Completion, Prompt, Sampling


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
        return self.completed(prompts, sampling, seeds)

    def completed(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int], begun: Begun | None = None
    ) -> Iterator[tuple[int, Completion]]:
        """As `complete`; begun: each row's answer, where it may not be just any."""
        rows = self.engine.rendering.prompt_ids(prompts)
        refused = {row: self.engine.refusal(ids, sampling.max_tokens) for row, ids in enumerate(rows)}
        yield from ((row, Completion(why, "error", 0)) for row, why in refused.items() if why)
        runnable = [row for row, why in refused.items() if not why]
        yield from decode(self.engine, rows, sampling, seeds, runnable, begun)

    def restricted(self, lines: Sequence[str], count: int) -> RestrictedHF:
        """Lines that the tokenizer cannot write, such as letters it does not have, are left out."""
        rendering = self.engine.rendering
        encoded = {line: rendering.answer_ids(line) for line in lines}
        written = {line: ids for line, ids in encoded.items() if rendering.answer_text(ids).split() == line.split()}
        separator = rendering.answer_ids("\n")
        parts = "\n" in rendering.tokenizer.decode(separator)
        return RestrictedHF(self, LineTrie(written, separator if parts else (), rendering.ends, count))

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        """Raises InputError on a continuation without tokens. NaN for a prompt that `complete` would refuse."""
        endings = self.engine.rendering.endings(continuations)
        sums = score_rows(self.engine, self.engine.rendering.prompt_ids(prompts), endings)
        return Scores(sums, np.array([len(ending) for ending in endings], dtype=np.int64))


@dataclass(frozen=True)
class RestrictedHF:
    """See `LLM.restricted`."""

    llm: HF
    trie: LineTrie

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int], barred: Barred
    ) -> Iterator[tuple[int, Completion]]:
        return self.llm.completed(prompts, sampling, seeds, lambda row: self.trie.answer(barred(row)))
