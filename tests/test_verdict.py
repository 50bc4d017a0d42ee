"""Every sentence of the verdict from per-user rows made for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from eval.arms import AGAIN, REAL
from eval.compare import Comparison, compare, compare_all
from eval.findings import Findings, best, find, headline
from eval.findings_table import WIDTH
from eval.verdict import read_scores, read_validation, summarise, table, write_verdict
from llm_aug.errors import InputError
from llm_aug.files import write_json, write_parquet

USERS = [f"u{number:02d}" for number in range(40)]
NOISE = np.random.default_rng(0).normal(0, 0.02, len(USERS))
Means = Mapping[tuple[str, str], float | tuple[float, float, float]]


def scores_of(means: Means, seeds: tuple[int, ...] = (0,)) -> pd.DataFrame:
    """Rows whose mean NDCG@20 is as told for (student, arm): one figure, or cold, warm and overall."""
    frames = []
    for (student, arm), told in means.items():
        values = told if isinstance(told, tuple) else (told, told, told)
        for group, mean in zip(("cold", "warm", "overall"), values, strict=True):
            for seed in seeds:
                # users differ much, and the arm's own noise is small: a paired comparison sees through it
                own = np.random.default_rng([seed, len(frames)]).normal(0, 0.01, len(USERS))
                figures = mean + (NOISE - NOISE.mean()) + (0 if arm == REAL else own - own.mean())
                frames.append(
                    pd.DataFrame(
                        {
                            "student": student,
                            "arm": arm,
                            "seed": seed,
                            "group": group,
                            "user_id": USERS,
                            "ndcg@20": figures,
                            "recall@10": 0.5,
                        }
                    )
                )
    return pd.concat(frames, ignore_index=True)


def found(
    means: Means, validation: Mapping[tuple[str, str], float] | None = None, seeds: tuple[int, ...] = (0,)
) -> Findings:
    scores = scores_of(means, seeds)
    return find(scores, summarise(scores), compare_all(scores), validation)


def told(means: Means, **options: tuple[int, ...]) -> str:
    """The sentences, each on one line."""
    findings = found(means, **options)
    return "\n".join([*findings.summary, *findings.doubts])


def row_of(means: Means, student: str, arm: str) -> list[str]:
    """Of the verdict's table: NDCG@20, gain, low, to, high, word, cold, warm."""
    lines = found(means).text().split("\n\n")[1].splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith(f"{student} "))
    return next(line for line in lines[at:] if f" {arm} " in line).split(f" {arm} ")[1].split()


@pytest.mark.parametrize(("mean", "gain", "word"), [(0.25, "+25.0%", "gain"), (0.15, "-25.0%", "harm")])
def test_a_gain_and_a_harm_are_said(mean: float, gain: str, word: str) -> None:
    cells = row_of({("ease", REAL): 0.2, ("ease", "llm"): mean}, "ease", "llm")
    assert (cells[0], cells[1], cells[5]) == (f"{mean:.4f}", gain, word)
    assert cells[6:] == [f"{gain}*", gain if word == "gain" else f"{gain}!"]


def test_no_gain_is_said() -> None:
    assert row_of({("ease", REAL): 0.2, ("ease", "llm"): 0.2}, "ease", "llm")[5:7] == ["no", "gain"]


def test_a_harm_by_the_llm_is_among_the_doubts() -> None:
    words = told({("ease", REAL): 0.2, ("ease", "llm"): 0.15})
    assert "Harm over real data: llm data: ease -25.0%, ease cold -25.0%." in words


def test_a_fall_of_warm_items_is_said_beyond_two_percent() -> None:
    words = told({("ease", REAL): (0.1, 0.3, 0.2), ("ease", "llm"): (0.3, 0.29, 0.25)})
    assert "Warm items: ease on llm data -3.3%" in words
    assert "1 of 1 models loses over 2 %." in words
    assert "Warm items lose on llm data: ease -3.3%." in words
    fine = told({("ease", REAL): (0.1, 0.3, 0.2), ("ease", "llm"): (0.3, 0.296, 0.25)})
    assert "0 of 1 models lose over 2 %." in fine
    assert "Warm items lose" not in fine
    assert "Warm items" not in told({("ease", REAL): (0.1, 0.3, 0.2), ("ease", AGAIN): (0.1, 0.2, 0.2)})


def test_a_difference_of_the_same_real_rows_is_a_fault_and_comes_first() -> None:
    assert "A/A, ease: no gain, as it must." in told({("ease", REAL): 0.2, ("ease", AGAIN): 0.2})
    for mean in (0.25, 0.15):
        means = {("ease", REAL): 0.2, ("ease", AGAIN): mean, ("ease", "llm"): 0.3}
        assert "WHICH IS A FAULT of the experiment or the noise of a single seed" in found(means).summary[0]
        assert "WHICH IS A FAULT of the experiment: trust nothing here" in found(means, seeds=(0, 1, 2)).summary[0]
    several = {(student, arm): 0.2 + (arm == AGAIN) / 10 for student in ("ease", "ials") for arm in (REAL, AGAIN)}
    assert "A/A is no control for ease (+50.0%) and ials (+50.0%)." in told(several)


@pytest.mark.parametrize(("merged", "word"), [(0.35, "beats"), (0.30, "does not beat"), (0.25, "loses to")])
def test_how_the_best_merged_model_stands_to_late_fusion_is_said(merged: float, word: str) -> None:
    words = told({("ease", REAL): 0.2, ("fusion", REAL): 0.30, ("ease", "llm"): merged})
    assert "Best single model on merged data, ease (llm), against the best on real data alone, ease: gain." in words
    assert f"It {word} tuned late fusion of real-only models." in words


def test_merged_data_fused_likewise_is_compared_with_that_fusion() -> None:
    words = told({("ease", REAL): 0.2, ("fusion", REAL): 0.3, ("ease", "llm"): 0.25, ("fusion", "llm"): 0.35})
    assert "Fused likewise, merged data (llm) against that fusion: gain. +16.7%" in words


def test_what_the_llm_adds_to_the_controls_is_said() -> None:
    means = {("ease", REAL): 0.2, ("ease", "funnel"): 0.25, ("ease", "random"): 0.22, ("ease", "llm"): 0.25}
    assert "llm over the funnel without an LLM, ease: no gain." in told(means)
    del means["ease", "funnel"]
    assert "llm over as many pairs of random users, ease: gain." in told(means)
    del means["ease", "random"]
    assert "What the LLM adds is not known" in told(means)


def test_how_many_students_gain_by_the_llm_is_counted() -> None:
    levels = {"ease": 0.3, "ials": 0.22, "ease2": 0.25}
    means = {(s, REAL): 0.2 for s in levels} | {(s, "funnel"): 0.25 for s in levels}
    words = told(means | {(student, "llm"): level for student, level in levels.items()})
    assert "llm over the funnel without an LLM, ease: gain. +20.0%" in words
    assert "Of 3 students 1 gain and 1 lose." in words
    assert "llm loses to funnel: ials -12.0%." in words


def test_what_weakens_the_verdict_is_said() -> None:
    means = {("ease", REAL): 0.2, ("ease", "llm"): 0.25, ("ease", "random"): 0.3}
    words = told(means)
    assert "look at what the LLM adds to them: random data: ease +50.0%." in words
    assert "Best single model on merged data, ease (llm)" in words
    assert "Those data are not the LLM's." in told({**means, ("ease", "funnel"): 0.28})
    assert "One seed: the intervals cover the choice of users" in words
    assert "No student is late fusion" in words
    assert "One seed" not in told(means, seeds=(0, 1))


def test_the_text_fits_a_terminal_and_its_headline_reads_back() -> None:
    arms = (REAL, AGAIN, "llm", "funnel", "random", "a-name-that-never-comes-to-an-end")
    fused = {(student, arm): 0.2 + 0.01 * len(arm) for student in ("two-tower", "fusion") for arm in arms}
    findings = found(fused)
    text = findings.text()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert len(findings.summary) <= 6
    assert headline(text) == list(findings.summary)
    assert "  a-name-that-never-comes…" in text


def test_the_headline_is_picked_on_validation_not_on_test() -> None:
    """The arm that happens to be best on test is not the one that validation chose."""
    means = {("ease", REAL): 0.2, ("ease", "lucky"): 0.4, ("ease", "llm"): 0.25, ("ease", AGAIN): 0.2}
    validation = {("ease", REAL): 0.2, ("ease", "lucky"): 0.21, ("ease", "llm"): 0.3, ("ease", AGAIN): 0.9}
    chosen, blind = found(means, validation), found(means)
    assert "merged data, ease (llm), against" in chosen.summary[0]
    assert not any("picked on test" in words for words in chosen.doubts)
    assert "merged data, ease (lucky), against" in blind.summary[0]
    assert "picked on test, which flatters them" in blind.doubts[0]


def test_best_keeps_real_and_merged_fusion_and_the_rest_apart() -> None:
    means = {
        ("ease", REAL): 0.2,
        ("ials", REAL): 0.3,
        ("fusion", REAL): 0.4,
        ("ease", "llm"): 0.1,
        ("ease", AGAIN): 0.9,
    }
    metrics = summarise(scores_of(means))
    assert best(metrics, real=True, fusion=False) == ("ials", REAL)
    assert best(metrics, real=True, fusion=True) == ("fusion", REAL)
    assert best(metrics, real=False, fusion=False) == ("ease", "llm")
    assert best(metrics, real=False, fusion=True) is None


def test_a_comparison_is_paired_by_user_and_seed() -> None:
    """Users differ by ten times the gain: unpaired intervals would overlap, the paired one does not hold zero."""
    rows = scores_of({("ease", REAL): 0.2, ("ease", "llm"): 0.205}, seeds=(0, 1))
    rows["ndcg@20"] += rows["user_id"].str[1:].astype(int) / 10
    one = compare(rows.sample(frac=1, random_state=0), ("ease", "llm"), ("ease", REAL), "overall")
    assert (one.gain, one.users, one.word) == (pytest.approx(0.005), 40, "gain")
    gains = summarise(rows)
    intervals = [(row["low"], row["high"]) for row in gains if (row["group"], row["metric"]) == ("overall", "ndcg")]
    assert intervals[0][1] > intervals[1][0]


def test_users_whom_one_side_lacks_are_left_out_of_the_comparison() -> None:
    rows = scores_of({("ease", REAL): 0.2, ("ease", "llm"): 0.3})
    fewer = rows[~((rows["arm"] == "llm") & (rows["user_id"] < "u10"))]
    assert compare(fewer, ("ease", "llm"), ("ease", REAL), "overall").users == 30


def test_a_gain_over_nothing_has_no_percentage_and_can_be_written(tmp_path: Path) -> None:
    rows = scores_of({("ease", REAL): 0.2, ("ease", "llm"): 0.3})
    rows.loc[rows["arm"] == REAL, "ndcg@20"] = 0.0
    write(tmp_path, rows)
    words = write_verdict(tmp_path, [tmp_path])
    assert "on real data alone, ease: gain. from zero (+0.3000" in words
    rows_of = json.loads((tmp_path / "comparisons.json").read_text())
    assert {row["relative"] for row in rows_of} == {None}


def write(folder: Path, rows: pd.DataFrame, validation: float | None = 0.1) -> None:
    write_parquet(folder / "per_user.parquet", pa.Table.from_pandas(rows, preserve_index=False))
    keys = rows[["student", "arm"]].drop_duplicates().to_dict("records")
    write_json(folder / "tuning.json", [{**key, "validation": validation} for key in keys])


def test_summary_rows() -> None:
    rows = summarise(scores_of({("ease", REAL): (0.1, 0.3, 0.2)}, seeds=(0, 1)))
    assert [(row["group"], row["metric"], row["k"]) for row in rows] == [
        (group, metric, k) for group in ("cold", "warm", "overall") for metric, k in (("ndcg", 20), ("recall", 10))
    ]
    overall = rows[4]
    assert (overall["mean"], overall["users"], overall["seed_count"]) == (pytest.approx(0.2), 40, 2)
    assert overall["low"] < 0.2 < overall["high"]


def test_several_splits_are_read_as_one_and_each_user_counts_under_each() -> None:
    rows = pd.concat([scores_of({("ease", REAL): mean}, seeds=(seed,)) for mean, seed in ((0.1, 0), (0.3, 1000))])
    overall = next(row for row in summarise(rows) if row["group"] == "overall")
    assert (overall["mean"], overall["seed_count"]) == (pytest.approx(0.2), 2)


def test_the_same_evaluation_given_twice_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, scores_of({("ease", REAL): 0.2}))
    with pytest.raises(InputError, match="the same users under the same seed"):
        read_scores([tmp_path / "one", tmp_path / "two"])


def test_validation_is_averaged_over_splits_or_not_there_at_all(tmp_path: Path) -> None:
    rows = scores_of({("ease", REAL): 0.2})
    for name, mark in (("one", 0.1), ("two", 0.3), ("blind", None)):
        write(tmp_path / name, rows, mark)
    assert read_validation([tmp_path / "one", tmp_path / "two"]) == {("ease", REAL): pytest.approx(0.2)}
    assert read_validation([tmp_path / "one", tmp_path / "blind"]) == {}


def test_a_group_that_nobody_has_is_not_compared() -> None:
    rows = scores_of({("ease", REAL): 0.2, ("ease", "llm"): 0.3})
    groups = {one.group for one in compare_all(rows[rows["group"] != "cold"])}
    assert groups == {"warm", "overall"}


def test_the_words_of_an_interval() -> None:
    def word(gain: float, p_holm: float) -> str:
        return Comparison("ease", "llm", "ease", REAL, "overall", gain, -1, 1, 0.1, 40, 0.01, p_holm).word

    assert [word(0.1, 0.04), word(-0.1, 0.04), word(0.1, 0.06), word(0.1, np.nan)] == [
        "gain",
        "harm",
        "no gain",
        "no gain",
    ]


def test_the_table() -> None:
    lines = table(summarise(scores_of({("ease", REAL): (0.1, 0.3, 0.2)}))).splitlines()
    assert lines[0] == "| student | arm | cold | warm | overall | 95 % interval |"
    assert lines[2].startswith("| ease | real | 0.100 | 0.300 | 0.200 | 0.1")
