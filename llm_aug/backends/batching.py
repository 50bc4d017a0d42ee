"""Batches under a token budget, which memory errors of every known wording halve for good."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    """Most tokens in a batch, padding and new tokens included; shrinks when memory runs out and is remembered."""

    tokens: int


def batches_by_length(rows: Sequence[int], costs: Sequence[int], budget: Budget) -> list[list[int]]:
    """Rows of similar cost together, longest first, so that a batch that does not fit is met at once.

    costs: tokens of each row, indexed by row number.
    """
    batches: list[list[int]] = []
    for row in sorted(rows, key=lambda row: (-costs[row], row)):
        if batches and costs[batches[-1][0]] * (len(batches[-1]) + 1) <= budget.tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def run_batches(
    rows: Sequence[int],
    costs: Sequence[int],
    budget: Budget,
    plan: Callable[[Sequence[int]], list[list[int]]],
    run: Callable[[list[int]], None],
) -> list[int]:
    """Runs every batch of the plan; after a memory error halves the budget and plans what is left anew.

    Returns the rows that do not fit into memory even alone.
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
        used = max(costs[row] for row in batch) * len(batch)
        budget.tokens = max(1, min(budget.tokens, used) // 2)
        queue = plan([row for left in queue for row in left])[::-1]
    return failed
