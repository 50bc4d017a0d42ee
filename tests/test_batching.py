"""Batches keep to a budget, and only memory errors shrink it."""

from __future__ import annotations

import pytest

from llm_aug.backends.batching import Budget, batches_by_length, is_memory_error, run_batches


def test_other_errors_are_not_taken_for_memory_errors() -> None:
    assert not is_memory_error(RuntimeError("shapes cannot be multiplied"))

    def fail(batch: list[int]) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        run_batches([0], [1], Budget(8), lambda rows: [list(rows)], fail)


def test_batches_by_length_keep_to_the_budget() -> None:
    costs = [10, 1, 2, 30, 3, 9]
    assert batches_by_length(range(6), costs, Budget(20)) == [[3], [0, 5], [4, 2, 1]]
