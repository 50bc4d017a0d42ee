"""Tuning on validation, which never reads a test row: every student has the same number of fits to find its options."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from eval.arms import REAL, Arm
from eval.ranking import Held, per_user
from eval.search import propose
from llm_aug import seeds
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


@dataclass(frozen=True)
class Trial:
    """One model of those compared. number: of its options. seconds: of scoring, of the first variant with the fit."""

    student: str
    arm: str
    number: int
    options: Mapping[str, Any]
    weight: float
    variant: int
    validation: float
    seconds: float

    def as_row(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Tuned:
    """model: the chosen one, fitted."""

    choice: Choice
    model: Recommender
    trials: Sequence[Trial] = ()


def fitted(choice: Choice, split: Split, arm: Arm, seed: int) -> Recommender:
    """The chosen model, fitted on the arm's data."""
    student = make_student(choice.student, dict(choice.options), seed + arm.seed_shift)
    return scoring_variants(student.fit(arm.merged(split, choice.weight)), choice.options)[choice.variant]


def scoring_variants(model: Recommender, options: Mapping[str, Any]) -> list[Recommender]:
    """The fitted model's variants that keep the options it was made with, the model as it is first."""
    return [one for one in model.variants() if all(getattr(one, name) == options[name] for name in options)]


def with_encoder(student: str, fixed: Mapping[str, Any], encoder: str) -> dict[str, Any]:
    """The fixed options, and the encoder where the student reads texts and none is fixed."""
    return {"encoder": encoder, **fixed} if hasattr(make_student(student, dict(fixed)), "encoder") else dict(fixed)


def tune(
    student: str, fixed: Mapping[str, Any], fits: int, weights: Sequence[float], split: Split, arm: Arm, held: Held
) -> Tuned:
    """The best of options x weights x scoring variants by overall NDCG@20 on validation, the first of equals.

    fixed: options that are not searched. fits: how many sets of the others are tried, the defaults first; all of them
    where the student's space has fewer. Without validation rows it is the defaults, and nothing is tried.
    """
    usual = make_student(student, {})
    space = {name: values for name, values in usual.SPACE.items() if name not in fixed}
    default = {name: getattr(usual, name) for name in space}
    best = Choice(student, arm.name, {**default, **fixed})
    if not held.users:
        return Tuned(best, fitted(best, split, arm, 0))
    weights = weights if arm.name != REAL and arm.pairs(split) else (1.0,)
    seed, model, trials = seeds.derive(0, "tuning", student), None, list[Trial]()
    tried: list[tuple[Mapping[str, Any], float]] = []
    while len(tried) < fits and (found := propose(space, default, tried, seed)) is not None:
        top = 0.0
        for weight in weights:
            choice = Choice(student, arm.name, {**found, **fixed}, weight)
            for trial, variant in _compared(choice, len(tried), split, arm, held):
                trials.append(trial)
                top = max(top, trial.validation)
                if best.validation is None or trial.validation > best.validation:
                    best, model = replace(choice, variant=trial.variant, validation=trial.validation), variant
        tried.append((found, top))
    assert model is not None
    return Tuned(replace(best, tried=len(trials)), model, trials)


def _compared(choice: Choice, number: int, split: Split, arm: Arm, held: Held) -> Iterator[tuple[Trial, Recommender]]:
    """One fit on the arm's data under every scoring variant."""
    started = time.monotonic()
    model = make_student(choice.student, dict(choice.options), arm.seed_shift).fit(arm.merged(split, choice.weight))
    for place, variant in enumerate(scoring_variants(model, choice.options)):
        score = float(per_user(variant, held, (20,), seed=0, groups=("overall",))[OBJECTIVE].mean())
        ended = time.monotonic()
        yield (
            Trial(choice.student, arm.name, number, choice.options, choice.weight, place, score, ended - started),
            variant,
        )
        started = ended
