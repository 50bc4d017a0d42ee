"""Tuning reads validation, the metrics read test, and the verdict tells a planted gain from none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.arms import AGAIN, REAL, Arm, again
from eval.cold_start import EvaluateOptions, evaluate
from eval.compare import Comparison, compare
from eval.parts import Part, Parts
from eval.ranking import held_out
from eval.tuning import fitted, scoring_variants, tune
from eval.verdict import read_scores
from llm_aug.data import Pair, Sample, Split
from llm_aug.errors import InputError
from recommender import Recommender, make_student

FILES = {
    "arms.json", "catalogue.json", "comparisons.json", "metrics.json", "per_user.parquet", "popularity.json",
    "trials.json", "tuning.json", "verdict.txt",
}  # fmt: skip
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


def written(folder: Path) -> dict[str, object]:
    """All that an evaluation left, but for how long its trials took."""
    trials = [{**row, "seconds": 0} for row in json.loads((folder / "trials.json").read_text())]
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "trials.json"} | {"": trials}


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
    assert "llm-oracle over as many pairs of random users, " in words
    assert "Pairs without sense gain, too" in words


@pytest.mark.slow
def test_random_users_do_not_gain_over_fusion(tastes: Split, tmp_path: Path) -> None:
    """Fusion ranks cold items by their text already."""
    arms = [true_pairs(tastes), random_pairs(tastes)]
    evaluate(tastes, arms, options(students={"fusion": {"l2": 5.0}}), tmp_path)
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
    assert "Best single model on merged data, ease (llm-oracle)" in words
    assert "A/A, " in words
    assert "no gain, as it must" in words


def test_the_same_evaluation_twice_gives_the_same_bytes(tastes: Split, tmp_path: Path) -> None:
    for name in ("one", "two"):
        evaluate(tastes, [random_pairs(tastes)], options(), tmp_path / name)
    assert {path.name for path in (tmp_path / "one").iterdir()} == FILES
    assert written(tmp_path / "one") == written(tmp_path / "two")


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
    evaluate(tastes, [random_pairs(tastes)], options(students={"ease": {}, "content": {}}, trials=3), tmp_path)
    rows = json.loads((tmp_path / "tuning.json").read_text())
    assert [(row["student"], row["arm"], row["tried"]) for row in rows] == [
        ("ease", REAL, 3),  # three fits
        ("ease", "random", 2),  # two weights
        ("content", REAL, 4),  # four ways of scoring
        ("content", "random", 8),
    ]
    assert rows[0]["options"] == rows[1]["options"]
    assert [row["weight"] for row in rows if row["arm"] == REAL] == [1, 1]
    trials = json.loads((tmp_path / "trials.json").read_text())
    keys = ("student", "arm", "number", "weight", "variant")
    assert [tuple(row[key] for key in keys) for row in trials[:5]] == [
        *(("ease", REAL, number, 1.0, 0) for number in range(3)),
        *(("ease", "random", 0, weight, 0) for weight in (1.0, 0.5)),
    ]
    assert len({row["options"]["l2"] for row in trials[:3]}) == 3
    for row in rows:
        own = [trial for trial in trials if (trial["student"], trial["arm"]) == (row["student"], row["arm"])]
        assert (len(own), max(trial["validation"] for trial in own)) == (row["tried"], row["validation"])


def test_the_tuned_model_is_the_one_fitted_again_from_its_choice(tastes: Split) -> None:
    users = sorted(set(tastes.train["user_id"]))
    for arm in (Arm(REAL), random_pairs(tastes), again(tastes, 20)):
        found = tune("ials", {"factors": 4}, 1, (1.0, 0.5), tastes, arm, held_out(tastes, "validation"))
        assert np.array_equal(fitted(found.choice, tastes, arm, 0).scores(users), found.model.scores(users))
        assert not np.array_equal(fitted(found.choice, tastes, arm, 1).scores(users), found.model.scores(users))


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


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The students that are fitted, one by one."""
    names: list[str] = []

    def counted(name: str, given: dict[str, Any], seed: int = 0) -> Recommender:
        student = make_student(name, given, seed)
        fit = student.fit
        student.fit = lambda dataset: names.append(name) or fit(dataset)  # type: ignore[method-assign, func-returns-value]
        return student

    monkeypatch.setattr("eval.tuning.make_student", counted)
    return names


def killed(*arguments: Any, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """An evaluation that ends when so many parts are written, and the next is at work."""
    write, written = Parts.write, []

    def dying(self: Parts, place: Path, part: Part) -> None:
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(place)
        write(self, place, part)

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            evaluate(*arguments)


def test_a_killed_evaluation_goes_on_and_ends_as_if_it_had_not_been(
    tastes: Split,
    tmp_path: Path,
    fits: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arms = [again(tastes, 20), random_pairs(tastes)]
    given = options(students={"ease": {}, "popularity": {}}, seeds=(0, 1), trials=3)
    evaluate(tastes, arms, given, tmp_path / "whole")
    whole = len(fits)
    assert fits.count("ease") == 3 + 2 + 2 + 3  # trials on real data, weights of two arms, the second seed of each
    fits.clear()
    killed(tastes, arms, given, tmp_path / "cut", monkeypatch=monkeypatch, after=2)
    assert len(list((tmp_path / "cut" / "parts").glob("*.json"))) == 2
    fits.clear()
    capsys.readouterr()
    evaluate(tastes, arms, given, tmp_path / "cut")
    assert "evaluate: 2/6 done before" in capsys.readouterr().err
    assert len(fits) == whole - (3 + 1) - (2 + 1)  # ease on real data and on the A/A arm was there
    assert written(tmp_path / "cut") == written(tmp_path / "whole")


def test_what_was_made_of_other_data_or_options_is_made_again(
    tastes: Split, tmp_path: Path, fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = options(students={"popularity": {}})
    arms = [random_pairs(tastes), again(tastes, 20)]
    killed(tastes, arms, given, tmp_path, monkeypatch=monkeypatch, after=2)
    reweighted = [replace(sample, weight=0.5) for sample in random_pairs(tastes).samples]
    retitled = replace(tastes, items=tastes.items.assign(title="same"))
    for name, split, arm, changed, made in (
        ("same", tastes, arms[0], given, 0),
        ("weights of the pairs", tastes, Arm("random", reweighted), given, 2),
        ("titles", retitled, arms[0], given, 1 + 2),
        ("options", tastes, arms[0], replace(given, synthetic_weights=(1.0,)), 1 + 1),
    ):
        shutil.copytree(tmp_path / "parts", tmp_path / name / "parts")
        fits.clear()
        evaluate(split, [arm], changed, tmp_path / name)
        assert len(fits) == made, name


def test_a_damaged_part_is_made_again(tastes: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = options(students={"popularity": {}})
    evaluate(tastes, [], given, tmp_path / "whole")
    killed(tastes, [random_pairs(tastes)], given, tmp_path / "cut", monkeypatch=monkeypatch, after=1)
    (part,) = (tmp_path / "cut" / "parts").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-100])
    evaluate(tastes, [], given, tmp_path / "cut")
    assert written(tmp_path / "cut") == written(tmp_path / "whole")


def test_a_split_without_test_rows_is_refused(tastes: Split, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no test rows"):
        evaluate(replace(tastes, test=tastes.test[:0]), [], options(), tmp_path)
