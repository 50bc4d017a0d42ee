"""Simulated pairs in the planted world: equal volumes, a judge worth its calls, and every way to stop and go on."""

from __future__ import annotations

import inspect
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import COLD, GenreJudge, catalogue, genre_space, likes, random_space, split, training

from llm_aug.backends import Scores
from llm_aug.candidates import Candidates, FunnelOptions, find_candidates
from llm_aug.controls import CONTROLS, other_users
from llm_aug.data import Dataset, Sample, tidy_interactions
from llm_aug.files import read_json, read_parquet
from llm_aug.funnel import Space
from llm_aug.simulate import GENERATORS, SimulateOptions, SimulateResult, halves, judge_examples, simulate
from llm_aug.tables import samples_from
from llm_aug.tasks.judge import Judge

OPTIONS = SimulateOptions(seed=1, split_hash="s1", chunk=64)


def weak_funnel(dataset: Dataset) -> Sequence[Space]:
    return [random_space(dataset), genre_space(dataset, noise=0.5)]


@cache
def found() -> Candidates:
    return find_candidates(
        training(), weak_funnel, FunnelOptions(per_user=3, per_item=6, pool=2.5, pseudo_fraction=0.5)
    )


def run(folder: Path, generator: str = "llm", llm: GenreJudge | None = None, **changes: object) -> SimulateResult:
    model = (llm or GenreJudge()) if generator == "llm" else None
    return simulate(generator, found(), training(), folder, replace(OPTIONS, **changes), model)


def samples(folder: Path) -> list[Sample]:
    return samples_from(read_parquet(folder / "samples.parquet"))


def pairs(folder: Path) -> pd.DataFrame:
    rows = [(sample.interactions[0].user_id, sample.subject, sample.weight) for sample in samples(folder)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "weight"])


@pytest.mark.parametrize("generator", GENERATORS)
def test_pairs_are_new_cold_and_stamped(tmp_path: Path, generator: str) -> None:
    result = run(tmp_path, generator)
    assert result.asked == len(found().cold) == result.parsed + result.rejected + result.failed
    made = samples(tmp_path)
    assert len(made) == result.parsed
    assert len({sample.sample_id for sample in made}) == len(made)
    for sample in made:
        (pair,) = sample.interactions
        assert (sample.kind, sample.subject, pair.item_id) == ("interactions", pair.item_id, pair.item_id)
        assert sample.origin.parents == (pair.item_id, pair.user_id)
        assert (sample.origin.generator, sample.origin.split_hash) == (f"interactions/{generator}", "s1")
        assert sample.origin.model == ("genre" if generator == "llm" else "")
        assert 0 < sample.weight <= 1
    assert set(pairs(tmp_path)["item_id"]) == set(COLD)
    assert not pairs(tmp_path).duplicated(["user_id", "item_id"]).any()
    rejects = read_parquet(tmp_path / "rejects.parquet").to_pylist()
    assert len(rejects) == result.rejected > 0
    assert {reject["reason"] for reject in rejects} == {"outranked"}
    manifest = read_json(tmp_path / "manifest.json")
    assert manifest["state"] == "done"
    assert manifest["counts"]["parsed"] == result.parsed


def test_volumes_are_equal(tmp_path: Path) -> None:
    sizes = {generator: run(tmp_path / generator, generator).parsed for generator in GENERATORS}
    assert len(set(sizes.values())) == 1, sizes
    made = {generator: pairs(tmp_path / generator) for generator in GENERATORS}
    for control in CONTROLS:
        assert sorted(made[control]["weight"]) == sorted(made["funnel"]["weight"])
    per_item = {name: Counter(frame["item_id"]) for name, frame in made.items()}
    assert sorted(per_item["shuffled"].values()) == sorted(per_item["funnel"].values())
    assert Counter(made["shuffled"]["user_id"]) == Counter(made["funnel"]["user_id"])
    for even in ("random", "active"):
        assert set(per_item[even]) == set(COLD)
        assert max(per_item[even].values()) - min(per_item[even].values()) <= 1


def test_failed_scores_do_not_shrink_the_arm(tmp_path: Path) -> None:
    llm = run(tmp_path / "llm", llm=GenreJudge(silent_on=" 9. "))
    assert llm.failed > 0
    assert llm.parsed == run(tmp_path / "funnel", "funnel").parsed


def test_active_users_are_the_most_active_and_random_users_are_not() -> None:
    some = pd.DataFrame({"user_id": ["u00", "u01"], "item_id": "i04", "weight": [0.5, 1.0]})
    log = tidy_interactions(pd.DataFrame({"user_id": list("cccbaa"), "item_id": list("123123")})).drop(index=5)
    active = other_users("active", some, Dataset(catalogue(), log), ["i04"], seed=0)
    assert list(active["user_id"]) == ["c", "a"]
    assert sorted(active["weight"]) == [0.5, 1.0]
    drawn = {tuple(other_users("random", some, training(), ["i04"], seed)["user_id"]) for seed in range(5)}
    assert len(drawn) == 5


def test_a_good_judge_finds_users_that_the_funnel_does_not(tmp_path: Path) -> None:
    good = run(tmp_path / "llm")
    funnel = run(tmp_path / "funnel", "funnel")
    assert good.auc["judge"] > good.auc["funnel"] + 0.05
    assert good.auc["both"] > good.auc["funnel"]
    assert set(funnel.auc) == {"funnel"}
    run(tmp_path / "random", "random")
    assert precision(tmp_path / "llm") > precision(tmp_path / "funnel") + 0.1
    assert precision(tmp_path / "funnel") > precision(tmp_path / "random") + 0.1


def precision(folder: Path) -> float:
    """Share of the weight that lies on users who like the item's genre."""
    genre = dict(zip(catalogue()["item_id"], catalogue()["genre"], strict=True))
    made = pairs(folder)
    fits = [genre[item] in likes(int(user[1:])) for user, item in zip(made["user_id"], made["item_id"], strict=True)]
    return float(np.average(fits, weights=made["weight"]))


def test_a_random_judge_hurts_little(tmp_path: Path) -> None:
    result = run(tmp_path / "llm", llm=GenreJudge(kind="random"))
    run(tmp_path / "funnel", "funnel")
    assert abs(result.auc["judge"] - 0.5) < 0.1
    assert result.auc["both"] > result.auc["funnel"] - 0.1  # some 280 pairs: a coin may look like a judge
    assert precision(tmp_path / "llm") > precision(tmp_path / "funnel") - 0.05


def test_the_auc_is_told_before_a_cold_pair_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)
    told = capsys.readouterr().err
    assert told.index("judge: pseudo:") < told.index("AUC inside pseudo-cold lists: funnel 0.") < told.index("cold: 0/")
    metrics = read_json(tmp_path / "metrics.json")["auc_in_pseudo_cold_lists"]
    assert set(metrics) == {"funnel", "judge", "both"}


def test_the_judge_is_calibrated_on_items_that_it_was_not_trained_on() -> None:
    train, calibration = halves(found().pseudo, seed=1)
    assert not set(train["item_id"]) & set(calibration["item_id"])
    assert len(train) + len(calibration) == len(found().pseudo)
    assert abs(train["item_id"].nunique() - calibration["item_id"].nunique()) <= 1
    judge = Judge()
    taught = {example.prompt.user for part in judge_examples(found(), judge, seed=1) for example in part}
    lines = judge.lines(training())
    titles = {lines[item] for item in train["item_id"]}
    assert {prompt.partition("New: ")[2] for prompt in taught} <= titles


def test_examples_are_parted_for_validation() -> None:
    train, validation = judge_examples(found(), Judge(), seed=1)
    assert len(validation) == round(0.1 * (len(train) + len(validation)))
    assert Counter(example.answer for example in train + validation).keys() == {"yes", "no"}


def test_a_pseudo_cold_prompt_never_shows_a_pseudo_cold_item(tmp_path: Path) -> None:
    llm = GenreJudge()
    run(tmp_path, llm=llm)
    lines, played = Judge().lines(training()), set(found().pseudo["item_id"])
    _, mine = halves(found().pseudo, OPTIONS.seed)
    assert len(llm.asked) == len(mine) + len(found().cold)
    for text in llm.asked[: len(mine)]:
        history = text.partition("\n\nNew: ")[0].splitlines()[1:]
        assert not {f"- {lines[item]}" for item in played} & set(history)


def test_calibration_takes_whole_lists_up_to_its_limit(tmp_path: Path) -> None:
    llm = GenreJudge()
    run(tmp_path, llm=llm, calibration_pairs=50)
    assert len(found().cold) < len(llm.asked) <= len(found().cold) + 50
    at_least_one = GenreJudge()
    run(tmp_path / "one", llm=at_least_one, calibration_pairs=1)
    assert len(at_least_one.asked) > len(found().cold)


def test_only_the_training_part_can_be_handed_over(tmp_path: Path) -> None:
    assert all("Split" not in str(p.annotation) for p in inspect.signature(simulate).parameters.values())
    llm = GenreJudge()
    run(tmp_path, llm=llm)
    histories = Judge(history=10**6).histories(training())
    test = set(zip(split().test["user_id"], split().test["item_id"], strict=True))
    assert not test & {(user, item) for user, items in histories.items() for item in items}
    lines = Judge().lines(training())
    assert not any(f"- {lines[item]}" in text for text in llm.asked for item in COLD)


def test_ids_with_slashes_stay_apart(tmp_path: Path) -> None:
    """Users u/a and u, items x and a/x: both pairs read "u/a/x"."""
    dataset = training()
    renamed = {"u00": "u/a", "u01": "u"}
    items = {"i04": "x", "i09": "a/x"}
    log = dataset.interactions.assign(user_id=dataset.interactions["user_id"].replace(renamed))
    frame = dataset.items.assign(item_id=dataset.items["item_id"].replace(items))
    odd = Dataset(frame, log)
    cold = pd.DataFrame([("u/a", "x", -1.0), ("u", "a/x", -2.0)], columns=["user_id", "item_id", "preference"])
    pseudo = found().pseudo.assign(user_id=found().pseudo["user_id"].replace(renamed))
    hidden = found().hidden.interactions
    mine = replace(
        found(),
        cold=cold,
        pseudo=pseudo,
        hidden=Dataset(frame, hidden.assign(user_id=hidden["user_id"].replace(renamed))),
    )
    assert simulate("llm", mine, odd, tmp_path, OPTIONS, GenreJudge()).parsed == 2
    assert {sample.sample_id for sample in samples(tmp_path)} == {"llm/u%2Fa/x", "llm/u/a%2Fx"}


@pytest.mark.slow
def test_a_hundred_thousand_pairs_take_less_than_half_a_minute(tmp_path: Path) -> None:
    users = np.repeat([f"u{user:02}" for user in range(40)], 2500)
    many = pd.DataFrame({"user_id": users, "item_id": [f"c{n % 2500}" for n in range(len(users))]})
    new = pd.DataFrame(
        {"item_id": [f"c{n}" for n in range(2500)], "title": "rocket", "description": "", "genre": "space"}
    )
    dataset = training()
    dataset = replace(dataset, items=pd.concat([dataset.items, new], ignore_index=True))
    many["preference"] = np.random.default_rng(0).standard_normal(len(many))

    class Instant(GenreJudge):
        def score(self, prompts: Sequence[object], continuations: Sequence[str]) -> Scores:
            return Scores(np.random.default_rng(len(prompts)).random((len(prompts), 2)), np.ones(2, dtype=np.int64))

    started = time.monotonic()
    result = simulate("llm", replace(found(), cold=many), dataset, tmp_path, SimulateOptions(), Instant())
    assert result.asked == 100_000
    assert time.monotonic() - started < 30
