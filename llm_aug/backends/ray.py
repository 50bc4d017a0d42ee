"""Any engine, and any encoder, on the machines of a Ray cluster; see `ray_pool` for how rows become batches.

The nodes need this package, and the models' folders and adapters under the same paths.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from llm_aug.backends import LLM, Barred, Restricted, Scores, spent
from llm_aug.backends.ray_pool import KILLER, Pool, Service, stored
from llm_aug.cluster import Cluster
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.errors import Resumable
from llm_aug.vectors import Encoder, Vectors


def spread_llm(load: Callable[[], LLM], cluster: Cluster) -> SpreadLLM:
    """load: what each worker calls to have the model, which this process never holds.

    Raises Unavailable where there is no such cluster, and what `load` raises.
    """
    return SpreadLLM(_pool(cluster), _service(load, "model"))


def spread_encoder(encoder: Encoder, cluster: Cluster) -> SpreadEncoder:
    """encoder: not yet loaded, as `load_encoder` returns it; it goes to the workers as it is, precision included."""
    return SpreadEncoder(encoder.name, _pool(cluster), _service(partial(_itself, encoder), "encoder"))


class SpreadLLM:
    """An LLM. Rows are those of one process, by their own seeds; a worker with other weights is refused.

    usage: of all workers, without what one that died had spent on its last batch.
    """

    def __init__(self, pool: Pool, service: Service):
        self.name, self.revision, self.adapter = pool.ask(service, _identity)
        self.pool = pool
        self.service = replace(service, mark=(self.revision, self.adapter))
        self.usage: dict[str, float] = {}

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Completion]]:
        def arguments(rows: Sequence[int]) -> tuple[Any, ...]:
            return [prompts[row] for row in rows], sampling, [seeds[row] for row in rows]

        return _completions(self._counted(self.pool.spread(self.service, _complete, arguments, len(prompts))))

    def restricted(self, lines: Sequence[str], count: int) -> SpreadRestricted:
        made = _service(partial(_restrict, lines=tuple(lines), count=count), "model", self.service)
        self.pool.ask(made, _is_there)  # refuses now what it cannot do
        return SpreadRestricted(self.pool, made)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        sums = np.full((len(prompts), len(continuations)), np.nan)
        tokens = np.ones(len(continuations), dtype=np.int64)

        def arguments(rows: Sequence[int]) -> tuple[Any, ...]:
            return [prompts[row] for row in rows], continuations

        for rows, scores in self._counted(self.pool.spread(self.service, _score, arguments, len(prompts))):
            if scores is not None:
                sums[list(rows)], tokens = scores.sums, scores.tokens
        return Scores(sums, tokens)

    def _counted(self, batches: Iterator[tuple[range, Any]]) -> Iterator[tuple[range, Any]]:
        """The answers alone, of (answers, what they cost)."""
        for rows, found in batches:
            answers, cost = (None, {}) if found is None else found
            for name, count in cost.items():
                self.usage[name] = self.usage.get(name, 0) + count
            yield rows, answers


@dataclass(frozen=True)
class SpreadRestricted:
    """See `LLM.restricted`."""

    pool: Pool
    service: Service

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int], barred: Barred
    ) -> Iterator[tuple[int, Completion]]:
        def arguments(rows: Sequence[int]) -> tuple[Any, ...]:
            no = [tuple(barred(row)) for row in rows]
            return [prompts[row] for row in rows], sampling, [seeds[row] for row in rows], no

        return _completions(self.pool.spread(self.service, _complete_restricted, arguments, len(prompts)))


@dataclass
class SpreadEncoder:
    """An Encoder. Raises Resumable on a text that ends every worker."""

    name: str
    pool: Pool
    service: Service

    def encode(self, texts: Sequence[str]) -> Vectors:
        parts: dict[int, Vectors] = {}
        for rows, vectors in self.pool.spread(
            self.service, _encode, lambda rows: ([texts[row] for row in rows],), len(texts)
        ):
            if vectors is None:
                raise Resumable(f"text {rows[0]} of {len(texts)}: {KILLER}; give the workers more memory and run again")
            parts[rows.start] = vectors
        return np.concatenate([parts[start] for start in sorted(parts)])


def _completions(batches: Iterator[tuple[range, Any]]) -> Iterator[tuple[int, Completion]]:
    for rows, answers in batches:
        for place, answer in [(0, Completion(KILLER, "error", 0))] if answers is None else answers:
            yield rows[place], answer


@lru_cache(maxsize=1)
def _pool(cluster: Cluster) -> Pool:
    """Models and encoders share the workers: two pools would wait for each other's GPUs."""
    return Pool(cluster)


def _service(make: Callable[..., Any], kind: str, base: Service | None = None) -> Service:
    return Service(os.urandom(8).hex(), stored(make), kind, base)


def _itself(encoder: Encoder) -> Encoder:
    return encoder


def _is_there(served: Any) -> bool:
    return True


def _identity(llm: LLM) -> tuple[str, str, str]:
    return llm.name, llm.revision, llm.adapter


def _restrict(llm: LLM, lines: Sequence[str], count: int) -> Restricted:
    return llm.restricted(lines, count)


def _complete(llm: LLM, *asked: Any) -> tuple[list[tuple[int, Completion]], dict[str, float]]:
    before = spent(llm)
    return list(llm.complete(*asked)), spent(llm, before)


def _complete_restricted(
    llm: Restricted, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int], no: Sequence[Sequence[str]]
) -> list[tuple[int, Completion]]:
    return list(llm.complete(prompts, sampling, seeds, no.__getitem__))


def _score(llm: LLM, *asked: Any) -> tuple[Scores, dict[str, float]]:
    before = spent(llm)
    return llm.score(*asked), spent(llm, before)


def _encode(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    return encoder.encode(texts)
