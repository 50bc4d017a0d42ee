"""Who answers: one file per engine behind one protocol, and the one table that names them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from llm_aug.cluster import Cluster
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.errors import InputError, did_you_mean
from llm_aug.registry import named
from llm_aug.server_options import ServerOptions

BACKENDS = {
    "builtin": "llm_aug.backends.hf:load_builtin",
    "hf": "llm_aug.backends.hf:load",
    "scripted": "llm_aug.backends.scripted:load",
    "server": "llm_aug.backends.server:load",
    "server-plain": "llm_aug.backends.server:load_plain",
    "vllm": "llm_aug.backends.vllm:load",
}

Barred = Callable[[int], Collection[str]]  # of a row; asked when the row begins, since a list of lists may be long


class LLM(Protocol):
    """name: as the user gave it. revision: a hash or a hub commit of the weights. adapter: the same of the adapter."""

    name: str
    revision: str
    adapter: str

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Completion]]:
        """(row of its prompt, completion), each row once, as they end: the more prompts, the fuller the batches.

        A row's text depends on its prompt, sampling and seed alone. A prompt that the engine cannot take fails alone,
        with finish 'error'.
        """

    def restricted(self, lines: Sequence[str], count: int) -> Restricted:
        """The same model, whose answers are lists of so many of these lines, none twice, and nothing else.

        Raises InputError where the engine cannot do that.
        """

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        """log p(continuation | prompt) of every pair.

        A prompt that cannot be scored (too long for the model, not encodable) is a row of NaN: the caller rejects it.
        """


class Restricted(Protocol):
    """A model that writes lists of known lines."""

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int], barred: Barred
    ) -> Iterator[tuple[int, Completion]]:
        """As `LLM.complete`, without the lines that each row's answer may not name; the list is shorter only where
        fewer lines are left, or max_tokens cut it, and empty where all are barred."""


@dataclass(frozen=True)
class Scores:
    """sums: log-probabilities [prompts, continuations], summed over tokens. tokens: of each continuation."""

    sums: NDArray[np.float64]
    tokens: NDArray[np.int64]

    @property
    def means(self) -> NDArray[np.float64]:
        """Per token [prompts, continuations]: what compares continuations of different lengths."""
        return self.sums / self.tokens

    @property
    def log_odds(self) -> NDArray[np.float64]:
        """log p(first) - log p(second) [prompts], of exactly two continuations: 'yes' and 'no'."""
        first, second = self.sums.T
        return np.asarray(first - second)


def completed(llm: LLM, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
    """All completions, in the order of the prompts."""
    found = dict(llm.complete(prompts, sampling, seeds))
    return [found[row] for row in range(len(prompts))]


@dataclass(frozen=True)
class LoadOptions:
    """How to load a model; what an engine cannot honour it refuses with InputError.

    adapter: a folder that `finetune` wrote. device: auto, cpu, cuda, cuda:1, ... dtype: auto, float32, bfloat16 or
    float16. batch_tokens: most tokens in a batch, None by device. extra: fields of each request to a server, or
    arguments of vLLM's engine. None of it but adapter and extra is part of a recipe.
    """

    adapter: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    batch_tokens: int | None = None
    server: ServerOptions = field(default_factory=ServerOptions)
    extra: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Metered(Protocol):
    """A model that counts what it costs."""

    @property
    def usage(self) -> Mapping[str, float]:
        """Requests, tokens and, with prices, cost since it was loaded; a count only grows."""


def spent(llm: LLM | None, before: Mapping[str, float] | None = None) -> dict[str, float]:
    """What the model's usage has grown by since it was `before`; empty for none, and for one that counts nothing."""
    usage: Mapping[str, float] = llm.usage if isinstance(llm, Metered) else {}
    return {name: count - (before or {}).get(name, 0) for name, count in usage.items()}


def load_llm(
    name: str,
    adapter: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    batch_tokens: int | None = None,
    cluster: Cluster | None = None,
    **more: Any,
) -> LLM:
    """Loads `builtin:mini`, a local folder, a hub id or `scheme:rest` with a scheme of BACKENDS. more: of LoadOptions.

    cluster: whose workers load it instead of this process.
    Raises InputError on an unknown scheme and Unavailable where the model or the adapter is not there.
    """
    scheme, colon, rest = name.partition(":")
    if not colon or Path(name).exists():
        scheme, rest = "hf", name
    if scheme not in BACKENDS:
        raise InputError(f"no engine is called {scheme!r} (model {name!r}); {did_you_mean(scheme, BACKENDS)}")
    if cluster is not None:
        spread: Callable[[Callable[[], LLM], Cluster], LLM] = import_module("llm_aug.backends.ray").spread_llm
        asked = (adapter, device, dtype, trust_remote_code, batch_tokens)
        return spread(partial(load_llm, name, *asked, **more), cluster)
    load: Callable[[str, LoadOptions], LLM] = named("engine", scheme, BACKENDS)
    return load(rest, LoadOptions(adapter, device, dtype, trust_remote_code, batch_tokens, **more))
