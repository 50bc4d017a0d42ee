"""Adversarial training: the step is the worst, 0 is off, and what it trains suffers less from small errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import planted
import pytest
import torch

from eval.bench.robustness import STUDENTS, moved
from recommender import make_student
from recommender.adversarial import robust, worst
from recommender.matrix import to_log

OPTIONS: dict[str, dict[str, Any]] = {
    "bpr": {"epochs": 30, "factors": 8},
    "mf": {"factors": 8},
    "two-tower": {"encoder": "hash:32", "dimensions": 8, "epochs": 3},
    "lightgcn": {"dimensions": 8, "epochs": 5},
}


def quadratic(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return first.square().sum() + (second - 1).square().sum()


def test_the_worst_step_goes_up_the_gradient_of_each_row() -> None:
    first, second = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True), torch.zeros(1, 1, requires_grad=True)
    steps = worst(quadratic(first, second), (first, second), 0.5)
    np.testing.assert_allclose(steps[0].numpy(), [[0.3, 0.4], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(steps[1].numpy(), [[-0.5]], atol=1e-6)


def test_the_robust_loss_is_the_sum_of_both_and_its_gradient_holds_the_step_fixed() -> None:
    point = torch.tensor([[3.0, 4.0]], requires_grad=True)

    def loss(at: torch.Tensor) -> torch.Tensor:
        return at.square().sum()

    value = robust(loss(point), loss, (point,), 0.5)
    assert value.item() == pytest.approx(25 + 5.5**2)
    value.backward()  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(point.grad, [[6 + 6.6, 8 + 8.8]], rtol=1e-6)  # type: ignore[arg-type]


def test_without_epsilon_the_value_stays_and_nothing_is_asked() -> None:
    def never(at: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    value = torch.ones(())
    assert robust(value, never, (torch.ones(2, 2),), 0.0) is value


@pytest.mark.parametrize("name", OPTIONS)
def test_every_student_learns_against_the_step_and_is_the_same_twice(name: str) -> None:
    dataset = planted.training()
    users = sorted(dataset.interactions["user_id"].unique())
    plain, hard, again = (
        make_student(name, {**OPTIONS[name], "adversarial": epsilon}).fit(dataset).scores(users)
        for epsilon in (0.0, 0.3, 0.3)
    )
    np.testing.assert_array_equal(hard, again)
    assert np.isfinite(hard).all()
    assert not np.array_equal(plain, hard)
    log = to_log(dataset)
    had = log.matrix.toarray() > 0
    assert hard[had].mean() > hard[~had & log.warm].mean()


@pytest.mark.parametrize("name", OPTIONS)
def test_the_benchmark_moves_what_the_student_ranks_by(name: str) -> None:
    split = planted.split()
    model = make_student(name, OPTIONS[name]).fit(split.training)
    log = to_log(split.training)
    factors = STUDENTS[name][1](model, list(log.users))
    own = model.scores(list(log.users))[:, log.warm]
    found = (factors.users @ factors.items.T + factors.biases)[:, log.warm]
    np.testing.assert_array_equal(np.argsort(own[:, :10]), np.argsort(found[:, :10]))
    for how in ("fgsm", "random"):
        step = moved(factors, split, 0.1, how, 0).users - factors.users
        length = np.sqrt((factors.users**2).sum(axis=1).mean())
        np.testing.assert_allclose(np.linalg.norm(step, axis=1), 0.1 * length, rtol=1e-3)


def test_fgsm_hurts_more_than_chance() -> None:
    split = planted.split()
    log = to_log(split.training)
    had = log.matrix.toarray()[:, log.warm] > 0
    model = make_student("bpr", OPTIONS["bpr"]).fit(split.training)
    factors = STUDENTS["bpr"][1](model, list(log.users))

    def auc(how: str, radius: float) -> float:
        """Of the training pairs."""
        there = moved(factors, split, radius, how, 0)
        scores = (there.users @ there.items.T + there.biases)[:, log.warm]
        return float(np.mean([(row[own][:, None] > row[~own]).mean() for row, own in zip(scores, had, strict=True)]))

    assert auc("fgsm", 0.6) < auc("random", 0.6) - 0.05 < auc("fgsm", 0.0)
