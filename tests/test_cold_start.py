"""Tuning reads validation, the metrics read test, and the verdict tells a planted gain from none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from eval.arms import AGAIN, REAL, Arm, again
from eval.cold_start import EvaluateOptions, evaluate
from eval.compare import Comparison, compare
from eval.ranking import held_out
from eval.tuning import fitted, scoring_variants, tune
from eval.verdict import read_scores
from llm_aug.data import Pair, Sample, Split
from llm_aug.errors import InputError
from recommender import make_student

FAST = {"ease": {"l2": 5.0}, "content": {"encoder": "hash:64"}}


def arm_of(name: str, pairs: Sequence[tuple[str, str]]) -> Arm:
    return Arm(name, [Sample(f"{u}/{i}", "interactions", i, interactions=(Pair(u, i),)) for u, i in pairs])


def true_pairs(split: Split) -> Arm:
    """An oracle: the very pairs of the cold items."""
    held = pd.concat([split.validation, split.test])
    cold = held[held["item_id"].isin(split.cold_items)]
    return arm_of("llm-oracle", list(zip(cold["user_id"], cold["item_id"], strict=True)))


def random_pairs(split: Split) -> Arm:
    """As many pairs per cold item, of users drawn at random."""
    random, users = np.random.default_rng(0), sorted(set(split.train["user_id"]))
    pairs = {
        (str(user), sample.subject)
        for sample in true_pairs(split).samples
        for user in random.choice(users, 1, replace=False)
    }
    return arm_of("random", sorted(pairs))


def options(**changes: object) -> EvaluateOptions:
    return replace(EvaluateOptions(students=FAST, ks=(10, 20), encoder="hash:64"), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def output(tastes: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    arms = [again(tastes, 80), true_pairs(tastes), random_pairs(tastes)]
    evaluate(tastes, arms, options(students={**FAST, "popularity": {}}, seeds=(0, 1)), folder)
    return folder


def against_real(output: Path, student: str, arm: str, group: str = "overall") -> Comparison:
    return compare(read_scores([output]), (student, arm), (student, REAL), group)


@pytest.mark.parametrize("student", ["ease", "content", "popularity"])
def test_an_arm_of_the_same_real_rows_equals_real(student: str, output: Path) -> None:
    scores = read_scores([output])
    real, same = (scores[(scores["student"] == student) & (scores["arm"] == arm)] for arm in (REAL, AGAIN))
    np.testing.assert_array_equal(same.drop(columns="arm"), real.drop(columns="arm"))
    found = against_real(output, student, AGAIN)
    assert (found.gain, found.low, found.high, found.word) == (0, 0, 0, "no gain")


@pytest.mark.parametrize("student", ["ease", "content"])
@pytest.mark.parametrize("group", ["cold", "overall"])
def test_an_oracle_gains(student: str, group: str, output: Path) -> None:
    found = against_real(output, student, "llm-oracle", group)
    assert found.word == "gain"
    assert found.relative > 0.2


@pytest.mark.parametrize("student", ["ease", "content"])
def test_random_users_do_not_gain_on_cold_items(student: str, output: Path) -> None:
    assert against_real(output, student, "random", "cold").word == "no gain"


def test_exposure_alone_gains_overall_so_the_verdict_tells_the_gain_over_random_users(output: Path) -> None:
    """To a student that ranks cold items last, any pairs are a gain: what counts is the gain over random ones."""
    assert against_real(output, "ease", "random").word == "gain"
    words = (output / "verdict.txt").read_text()
    assert "llm-oracle over as many pairs of random users, ease: gain" in words


@pytest.mark.slow
def test_random_users_do_not_gain_over_fusion(tastes: Split, tmp_path: Path) -> None:
    """Fusion ranks cold items by their text already."""
    arms = [true_pairs(tastes), random_pairs(tastes)]
    evaluate(tastes, arms, options(students={"fusion": {}}), tmp_path)
    assert against_real(tmp_path, "fusion", "random").word != "gain"
    assert against_real(tmp_path, "fusion", "llm-oracle", "cold").word == "gain"


def test_the_files_of_an_evaluation(output: Path, tastes: Split) -> None:
    rows = pd.read_parquet(output / "per_user.parquet")
    assert {"student", "arm", "seed", "group", "user_id", "ndcg@20", "recall@10"} <= set(rows.columns)
    assert sorted(rows["seed"].unique()) == [1000, 1001]  # of split seed 1 and student seeds 0 and 1
    arms = json.loads((output / "arms.json").read_text())
    assert (arms["split_hash"], arms["encoder"]) == (tastes.hash, "hash:64")
    assert [(arm["arm"], arm["pairs"]) for arm in arms["arms"][:2]] == [(REAL, 0), (AGAIN, 80)]
    metrics = json.loads((output / "metrics.json").read_text())
    keys = {"student", "arm", "group", "metric", "k", "mean", "low", "high", "users", "seed_count"}
    assert all(set(row) == keys for row in metrics)
    assert {row["seed_count"] for row in metrics} == {2}
    words = (output / "verdict.txt").read_text()
    assert "ease on llm-oracle data: gain" in words
    assert "A/A, ease: no gain, as it must" in words


def test_the_same_evaluation_twice_gives_the_same_bytes(tastes: Split, tmp_path: Path) -> None:
    for name in ("one", "two"):
        evaluate(tastes, [random_pairs(tastes)], options(), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_tuning_reads_validation_only(tastes: Split, tmp_path: Path) -> None:
    """With other test rows the choices are the same; with other validation rows their scores are not."""
    random = np.random.default_rng(0)
    other_test = replace(tastes, test=tastes.test.assign(user_id=random.permutation(tastes.test["user_id"])))
    users = random.permutation(tastes.validation["user_id"])
    other_validation = replace(tastes, validation=tastes.validation.assign(user_id=users))
    students = {"ease": {}, "content": {}}
    choices = []
    for number, split in enumerate((tastes, other_test, other_validation)):
        evaluate(split, [random_pairs(tastes)], options(students=students), tmp_path / str(number))
        choices.append((tmp_path / str(number) / "tuning.json").read_text())
    assert choices[0] == choices[1]
    assert choices[0] != choices[2]


def test_options_are_tuned_on_real_data_and_each_arm_tunes_weight_and_scoring(tastes: Split, tmp_path: Path) -> None:
    evaluate(tastes, [random_pairs(tastes)], options(students={"ease": {}, "content": {}}), tmp_path)
    rows = json.loads((tmp_path / "tuning.json").read_text())
    assert [(row["student"], row["arm"], row["tried"]) for row in rows] == [
        ("ease", REAL, 3),  # three strengths
        ("ease", "random", 2),  # two weights
        ("content", REAL, 4),  # four ways of scoring
        ("content", "random", 8),
    ]
    assert rows[0]["options"] == rows[1]["options"]
    assert [row["weight"] for row in rows if row["arm"] == REAL] == [1, 1]


def test_the_best_on_validation_is_chosen(tastes: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two options, the one whose scores put the held-out items first."""
    held = held_out(tastes, "validation")

    class Told:
        GRID = ({"good": False}, {"good": True})

        def __init__(self, good: bool) -> None:
            self.good = good

        def fit(self, dataset: object) -> Told:
            return self

        def variants(self) -> list[Told]:
            return [self]

        def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
            truth = held.relevant[[list(held.users).index(user) for user in users]].astype(np.float32)
            return truth if self.good else -truth

    monkeypatch.setattr("eval.tuning.make_student", lambda name, options, seed: Told(**options))
    choice, model = tune("told", Told.GRID, (1.0,), tastes, Arm(REAL), held)
    assert (choice.options, choice.validation, choice.tried, model.good) == ({"good": True}, 1.0, 2, True)  # type: ignore[attr-defined]
    first, _ = tune("told", [{"good": True}, {"good": True}], (1.0,), tastes, Arm(REAL), held)
    assert first.variant == 0


def test_the_tuned_model_is_the_one_fitted_again_from_its_choice(tastes: Split) -> None:
    users = sorted(set(tastes.train["user_id"]))
    for arm in (Arm(REAL), random_pairs(tastes), again(tastes, 20)):
        choice, model = tune("ials", [{"factors": 4}], (1.0, 0.5), tastes, arm, held_out(tastes, "validation"))
        assert np.array_equal(fitted(choice, tastes, arm, 0).scores(users), model.scores(users))
        assert not np.array_equal(fitted(choice, tastes, arm, 1).scores(users), model.scores(users))


def test_options_that_the_user_fixed_are_not_tuned_away(tastes: Split) -> None:
    model = make_student("content", {"encoder": "hash:64", "tfidf_weight": 0.3}).fit(tastes.training)
    kept = scoring_variants(model, {"encoder": "hash:64", "tfidf_weight": 0.3})
    assert [one.tfidf_weight for one in kept] == [0.3]  # type: ignore[attr-defined]
    free = make_student("content", {"encoder": "hash:64"}).fit(tastes.training)
    assert len(scoring_variants(free, {"encoder": "hash:64"})) == 4


def test_without_validation_rows_the_first_options_are_taken_and_the_verdict_says_so(
    tastes: Split, tmp_path: Path
) -> None:
    blind = replace(tastes, validation=tastes.validation[:0])
    words = evaluate(blind, [random_pairs(tastes)], options(), tmp_path)
    assert "picked on test" in words
    chosen = json.loads((tmp_path / "tuning.json").read_text())
    assert {(row["validation"], row["variant"], row["weight"], row["tried"]) for row in chosen} == {(None, 0, 1.0, 0)}


def test_a_split_without_test_rows_is_refused(tastes: Split, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no test rows"):
        evaluate(replace(tastes, test=tastes.test[:0]), [], options(), tmp_path)
