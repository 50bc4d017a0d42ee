"""Adversarial training: the step is the worst, 0 is off, and what it trains suffers less from small errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import planted
import pytest
import torch

from eval.bench.robustness import STUDENTS, differences, measured, moved, table
from eval.ranking import held_out
from eval.split import SplitOptions, cut
from llm_aug.data import Dataset
from llm_aug.errors import InputError
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
@pytest.mark.parametrize("epsilon", [-0.1, float("inf"), float("nan")])
def test_a_length_that_is_none_is_refused(name: str, epsilon: float) -> None:
    with pytest.raises(InputError, match="adversarial is the length of a step"):
        make_student(name, {**OPTIONS[name], "adversarial": epsilon}).fit(planted.training())


@pytest.fixture(scope="module")
def whole() -> Dataset:
    """The planted log with the pairs of cold items, too."""
    split = planted.split()
    return Dataset(split.items, pd.concat([split.train, split.test], ignore_index=True))


def test_what_it_trains_suffers_less_from_small_errors(whole: Dataset) -> None:
    def lost(epsilon: float, seed: int) -> float:
        """How far the AUC of held-out warm pairs falls under FGSM."""
        split = cut(whole, SplitOptions(seed=seed))
        log = to_log(split.training)
        options = {"encoder": "hash:32", "dimensions": 8, "epochs": 6, "batch_size": 128, "adversarial": epsilon}
        factors = STUDENTS["two-tower"][1](
            make_student("two-tower", options, seed).fit(split.training), list(log.users)
        )
        true = np.zeros(log.matrix.shape, dtype=bool)
        true[log.users.get_indexer(split.test["user_id"]), log.items.get_indexer(split.test["item_id"])] = True
        had, areas = log.matrix.toarray() > 0, []
        for radius in (0.0, 0.2):
            there = moved(factors, split, radius, "fgsm", seed)
            rows = zip((there.users @ there.items.T)[:, log.warm], had[:, log.warm], true[:, log.warm], strict=True)
            areas += [np.mean([(row[y][:, None] > row[~y & ~x]).mean() for row, x, y in rows if y.any()])]
        return float(areas[0] - areas[1])

    plain, hard = (np.mean([lost(epsilon, seed) for seed in range(4)]) for epsilon in (0.0, 0.3))
    assert 0.02 < hard < 0.75 * plain  # of eight seeds .067 and .143; the deviation of their difference is .03


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


def test_the_benchmark_measures_radius_0_whatever_it_is_asked_for(whole: Dataset) -> None:
    split = cut(whole, SplitOptions())
    rows = measured(split, held_out(split, "test"), "lightgcn", 0.0, [0.3], 0)
    found = {(row["how"], row["radius"]): row["ndcg"] for row in rows}
    assert set(found) == {(how, radius) for how in ("fgsm", "random") for radius in (0.0, 0.3)}
    assert found["fgsm", 0.0] == found["random", 0.0] > found["fgsm", 0.3]


def test_tables_tell_what_is_left_and_what_training_changes_on_the_same_seed() -> None:
    figures = {(0.0, 0.0): (0.2, 0.4), (0.0, 0.5): (0.1, 0.2), (0.1, 0.0): (0.25, 0.36), (0.1, 0.5): (0.2, 0.3)}
    rows = [
        {"student": "bpr", "epsilon": epsilon, "how": "fgsm", "radius": radius, "ndcg": value, "seed": seed}
        for (epsilon, radius), values in figures.items()
        for seed, value in enumerate(values)
    ]
    lines = table(rows).splitlines()
    assert lines[0] == "| student | epsilon | moved | radius 0 | radius 0.5 |"
    assert lines[2] == "| bpr | 0 | fgsm | 0.3000 ± 0.1414 | 0.1500 ± 0.0707 (50%) |"
    assert lines[3] == "| bpr | 0.1 | fgsm | 0.3050 ± 0.0778 | 0.2500 ± 0.0707 (82%) |"
    assert differences(rows).splitlines()[2:] == ["| bpr | 0.1 less 0 | fgsm | +0.0050 ± 0.0636 | +0.1000 ± 0.0000 |"]
