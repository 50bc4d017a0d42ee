"""Who answers: one file per engine behind one protocol, and the one table that names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llm_aug.data import Completion, Prompt, Sampling


class LLM(Protocol):
    """name: as the user gave it. revision: a hash or a hub commit of the weights. adapter: the same of the adapter."""

    name: str
    revision: str
    adapter: str

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        """One completion per prompt, in order. A row's text depends on its prompt, sampling and seed alone."""

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> NDArray[np.float64]:
        """log p(continuation | prompt), summed over the continuation's tokens: [len(prompts), len(continuations)]."""
