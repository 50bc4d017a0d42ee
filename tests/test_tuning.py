"""Equal budgets: what is tried, in which order, and that the best on validation is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from eval.arms import REAL, Arm
from eval.ranking import Held, held_out
from eval.search import SPREAD, propose, size
from eval.tuning import tune
from llm_aug.data import Split
from recommender import STUDENTS, make_student
from recommender.search_space import Range

SPACE = {"l2": Range(10, 5000, log=True), "factors": (16, 32, 64)}
DEFAULT = {"l2": 200.0, "factors": 32}


def searched(count: int, space: Any = SPACE, default: Any = DEFAULT, seed: int = 0) -> list[tuple[Any, float]]:
    """Trials of a search whose score has its peak at l2 = 1000."""
    tried: list[tuple[Any, float]] = []
    while len(tried) < count and (found := propose(space, default, tried, seed)) is not None:
        tried.append((found, -abs(np.log(found.get("l2", 1.0) / 1000))))
    return tried


@pytest.mark.parametrize("name", STUDENTS)
def test_a_students_space_holds_its_options_and_their_defaults(name: str) -> None:
    usual = make_student(name, {})
    for option, values in usual.SPACE.items():
        default = getattr(usual, option)
        assert values.low <= default <= values.high if isinstance(values, Range) else default in values
        for place in (0.0, 0.5, 0.99):
            value = values.at(place) if isinstance(values, Range) else values[int(place * len(values))]
            assert getattr(make_student(name, {option: value}), option) == value


@pytest.mark.parametrize("name", STUDENTS)
def test_what_only_changes_scoring_is_not_searched_by_fits(name: str) -> None:
    module, _, attribute = STUDENTS[name].partition(":")
    make = getattr(import_module(module), attribute)
    model = make()
    for field in {"weight", "cold_factor", "knn_weight", "tfidf_weight", "cold_bonus"} & set(vars(model)):
        assert field not in make.SPACE


def test_the_default_is_first_and_six_points_lie_all_over_the_range() -> None:
    tried = [options for options, _ in searched(7)]
    assert tried[0] == DEFAULT
    logs = sorted(np.log(options["l2"] / 10) / np.log(500) for options in tried[1:])
    assert max(after - before for before, after in pairwise([0.0, *logs, 1.0])) < 0.4
    assert {options["factors"] for options in tried[1:]} == {16, 32, 64}


def test_the_even_points_are_the_same_whoever_computes_them() -> None:
    """Halton's in bases 2 and 3, turned by the offsets that seed 0 draws."""
    tried = [(options["l2"], options["factors"]) for options, _ in searched(4)]
    assert tried == [(200.0, 32), (392.0, 64), (82.9, 16), (1850.0, 32)]


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been() -> None:
    whole = searched(SPREAD + 3)
    for stop in (3, SPREAD + 1):
        assert propose(SPACE, DEFAULT, whole[:stop], 0) == whole[stop][0]
    assert searched(3, seed=1)[1:] != whole[1:3]


def test_later_trials_gather_where_the_results_were_best() -> None:
    tried = [abs(np.log(options["l2"] / 1000)) for options, _ in searched(SPREAD + 15)]
    assert np.median(tried[SPREAD:]) < np.median(tried[:SPREAD])


def test_a_finite_space_is_exhausted_without_repeats_even_past_the_even_points() -> None:
    space = {"rank": (1, 2, 3, 4), "mix": (("a",), ("a", "b"), None)}
    tried = [options for options, _ in searched(50, space, {"rank": 2, "mix": None})]
    assert len(tried) == len({str(options) for options in tried}) == size(space) == 12
    assert len(searched(50, {}, {})) == 1


class Told:
    """A student that knows the held-out rows if its option is 3. fits: of all models so far."""

    SPACE: ClassVar[Any] = {"skill": (0, 1, 2, 3, 4), "luck": (0, 1)}
    fits: ClassVar[list[Any]] = []
    held: ClassVar[Held]

    def __init__(self, skill: int = 0, luck: int = 0) -> None:
        self.skill, self.luck = skill, luck

    def fit(self, dataset: object) -> Told:
        Told.fits.append((self.skill, self.luck))
        return self

    def variants(self) -> list[Told]:
        return [self]

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        rows = [list(self.held.users).index(user) for user in users]
        truth = self.held.relevant[rows].astype(np.float32)
        return truth if self.skill == 3 else -truth


@pytest.fixture
def told(tastes: Split, monkeypatch: pytest.MonkeyPatch) -> Held:
    monkeypatch.setattr("eval.tuning.make_student", lambda name, options, seed=0: Told(**options))
    monkeypatch.setattr(Told, "fits", [])
    monkeypatch.setattr(Told, "held", held_out(tastes, "validation"), raising=False)
    return Told.held


def test_the_best_on_validation_is_chosen_within_the_budget(tastes: Split, told: Held) -> None:
    found = tune("told", {}, 10, (1.0,), tastes, Arm(REAL), told)
    assert (found.choice.options["skill"], found.choice.validation, found.choice.tried) == (3, 1.0, 10)
    assert len(Told.fits) == len(set(Told.fits)) == 10
    assert Told.fits[0] == (0, 0)
    assert [trial.number for trial in found.trials] == list(range(10))
    assert max(trial.validation for trial in found.trials) == 1.0
    assert all(trial.seconds > 0 for trial in found.trials)


def test_what_is_fixed_is_not_searched_and_the_first_of_equals_stays(tastes: Split, told: Held) -> None:
    found = tune("told", {"skill": 3}, 6, (1.0,), tastes, Arm(REAL), told)
    assert Told.fits == [(3, 0), (3, 1)]
    assert (found.choice.options, found.choice.tried) == ({"luck": 0, "skill": 3}, 2)


def test_a_student_with_a_space_has_just_its_budget_of_fits(tastes: Split) -> None:
    held = held_out(tastes, "validation")
    tried = {name: len(tune(name, {}, 4, (1.0,), tastes, Arm(REAL), held).trials) for name in ("ease", "popularity")}
    assert tried == {"ease": 4, "popularity": 1}
