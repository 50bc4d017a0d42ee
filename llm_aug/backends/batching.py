"""Batches under a token budget, which memory errors of every known wording halve for good."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

MEMORY_WORDINGS = (
    "out of memory",  # CUDA in both its wordings, HIP, MPS
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cusolver_status_alloc_failed",
    "defaultcpuallocator: can't allocate",
    "not enough memory",
    "failed to allocate",
    "invalid buffer size",  # MPS, for a single tensor above its limit
)


def is_memory_error(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(wording in text for wording in MEMORY_WORDINGS)
    )


def release_memory() -> None:
    """Gives cached blocks back, so that the smaller batch after a memory error finds room."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass
class Budget:
    """tokens: most in a batch, padding and new tokens included. learnt: less than that for rows of some length or more.

    Attention needs memory that grows faster than a row's length: what long rows overflow may still be right for short
    ones. Lengths are told apart by powers of two.
    """

    tokens: int
    learnt: dict[int, int] = field(default_factory=dict)

    def rows(self, cost: int) -> int:
        """How many rows of so many tokens make a batch, one at least."""
        known = [tokens for length, tokens in self.learnt.items() if length <= cost.bit_length()]
        return max(1, min([self.tokens, *known]) // max(cost, 1))

    def shrink(self, cost: int, rows: int) -> None:
        """Remembers that so many rows, the longest of so many tokens, did not fit."""
        self.learnt[cost.bit_length()] = max(1, min(self.rows(cost), rows) * cost // 2)


def run_batches(
    rows: Sequence[int],
    costs: Sequence[int],
    budget: Budget,
    plan: Callable[[Sequence[int]], list[list[int]]],
    run: Callable[[list[int]], None],
) -> list[int]:
    """Runs every batch of the plan; after a memory error shrinks the budget and plans what is left anew.

    costs: tokens of each row, by row number. Returns the rows that do not fit into memory even alone.
    """
    failed: list[int] = []
    queue = plan(rows)[::-1]
    while queue:
        batch = queue[-1]
        try:
            run(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_memory_error(error):
                raise
            fits = False
        else:
            fits = True
        # Outside the except block: the traceback would keep the tensors of the failed batch alive.
        if fits or len(batch) == 1:
            failed += [] if fits else batch
            queue.pop()
            continue
        release_memory()
        budget.shrink(max(costs[row] for row in batch), len(batch))
        queue = plan([row for left in queue for row in left])[::-1]
    return failed
