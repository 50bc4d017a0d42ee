"""Batches keep to a budget, and only memory errors shrink it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from llm_aug.backends.batching import Budget, is_memory_error, run_batches


def test_other_errors_are_not_taken_for_memory_errors() -> None:
    assert not is_memory_error(RuntimeError("shapes cannot be multiplied"))

    def fail(batch: list[int]) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        run_batches([0], [1], Budget(8), lambda rows: [list(rows)], fail)


def test_memory_is_remembered_for_rows_as_long_or_longer() -> None:
    budget = Budget(1000)
    assert [budget.rows(cost) for cost in (10, 100, 2000)] == [100, 10, 1]
    budget.shrink(100, 10)
    assert [budget.rows(cost) for cost in (10, 60, 100, 250, 600)] == [100, 16, 5, 2, 1]
    budget.shrink(100, 5)
    assert budget.rows(100) == 2


def test_rows_that_fit_alone_are_run_and_the_others_are_named() -> None:
    costs, done = [9, 2, 2, 2], []

    def run(batch: list[int]) -> None:
        if sum(costs[row] for row in batch) > 4:
            raise MemoryError
        done.extend(batch)

    budget = Budget(64)

    def plan(rows: Sequence[int]) -> list[list[int]]:
        size = budget.rows(max(costs[row] for row in rows)) if rows else 1
        return [list(rows[start : start + size]) for start in range(0, len(rows), size)]

    assert run_batches([0, 1, 2, 3], costs, budget, plan, run) == [0]
    assert sorted(done) == [1, 2, 3]
