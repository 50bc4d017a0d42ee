"""Tuning on validation, which never reads a test row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from eval.arms import REAL, Arm
from eval.ranking import Held, per_user
from llm_aug.data import Split
from recommender import Recommender, make_student

OBJECTIVE = "ndcg@20"


@dataclass(frozen=True)
class Choice:
    """What validation chose: fit-time options, weight of synthetic pairs, scoring variant; tried: models compared."""

    student: str
    arm: str
    options: Mapping[str, Any]
    weight: float = 1.0
    variant: int = 0
    validation: float | None = None
    tried: int = 0

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


def fitted(choice: Choice, split: Split, arm: Arm, seed: int) -> Recommender:
    """The chosen model, fitted on the arm's data."""
    student = make_student(choice.student, dict(choice.options), seed + arm.seed_shift)
    return scoring_variants(student.fit(arm.merged(split, choice.weight)), choice.options)[choice.variant]


def scoring_variants(model: Recommender, options: Mapping[str, Any]) -> list[Recommender]:
    """The fitted model's variants that keep the options it was made with, the model as it is first."""
    return [one for one in model.variants() if all(getattr(one, name) == options[name] for name in options)]


def tune(
    student: str, grid: Sequence[Mapping[str, Any]], weights: Sequence[float], split: Split, arm: Arm, held: Held
) -> tuple[Choice, Recommender]:
    """The best of grid x weights x scoring variants by overall NDCG@20 on validation, the first of equals; fitted.

    Without validation rows, or with nothing to choose between, it is the first of the grid.
    """
    if not held.users:
        choice = Choice(student, arm.name, grid[0])
        return choice, fitted(choice, split, arm, 0)
    best, tried = Choice(student, arm.name, grid[0]), 0
    chosen: Recommender | None = None
    weights = weights if arm.name != REAL and arm.pairs(split) else (1.0,)
    for options in grid:
        for weight in weights:
            model = make_student(student, dict(options), arm.seed_shift).fit(arm.merged(split, weight))
            for number, variant in enumerate(scoring_variants(model, options)):
                tried += 1
                rows = per_user(variant, held, (20,), seed=0, groups=("overall",))
                score = float(rows[OBJECTIVE].mean())
                if best.validation is None or score > best.validation:
                    best, chosen = Choice(student, arm.name, options, weight, number, score), variant
    assert chosen is not None
    return replace(best, tried=tried), chosen
