"""Whether the verdict lies: equal data must not gain, planted truth must, and whoever has seen the test is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from eval.arms import Arm
from eval.bench.false_alarms import alarms, run, table
from eval.cold_start import EvaluateOptions, evaluate, main
from eval.compare import Comparison, compare
from eval.verdict import read_scores
from llm_aug.data import Dataset, Pair, Sample, Split
from llm_aug.files import write_parquet
from llm_aug.splits import write_split

PER_ITEM = 8  # with twice as many, noise too has the least p-value that 2,000 resamples can give


def truth(split: Split) -> list[tuple[str, str]]:
    """Pairs of users with the cold items of their taste: what is true of the items, held out or not."""
    users = sorted(set(split.train["user_id"]), key=lambda user: int(user[1:]))
    return [(u, i) for i in sorted(split.cold_items) for u in users if int(u[1:]) % 4 == int(i[1:]) % 4]


def arm_of(split: Split, true_share: float) -> Arm:
    """PER_ITEM pairs for each cold item, of whose users this share has its taste; the others are any."""
    users, random = sorted(set(split.train["user_id"])), np.random.default_rng(0)
    samples = []
    for item in sorted(split.cold_items):
        own = [user for user, other in truth(split) if other == item]
        certain = list(random.choice(own, round(true_share * PER_ITEM), replace=False))
        rest = [user for user in users if user not in certain]
        chosen = [*certain, *random.choice(rest, PER_ITEM - len(certain), replace=False)]
        samples += [Sample(f"{u}/{item}", "interactions", item, interactions=(Pair(u, item),)) for u in chosen]
    return Arm(f"llm-{true_share:g}", samples)


@pytest.fixture(scope="module")
def scores(tastes: Split, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("scores")
    students = {"ease": {"l2": 5.0}, "direct": {}}
    evaluate(
        tastes, [arm_of(tastes, share) for share in (1, 0.1)], EvaluateOptions(students, encoder="hash:64"), folder
    )
    return read_scores([folder])


def cold(scores: pd.DataFrame, student: str, arm: str, against: str = "real") -> Comparison:
    return compare(scores, (student, arm), (student, against), "cold")


@pytest.mark.parametrize("student", ["ease", "direct"])
def test_planted_truth_is_a_gain_and_noise_around_a_tenth_of_it_a_doubtful_one(
    student: str, scores: pd.DataFrame
) -> None:
    true, noisy = (cold(scores, student, arm) for arm in ("llm-1", "llm-0.1"))
    assert true.word == "gain"
    assert true.gain > 0.05
    assert noisy.p > true.p
    assert cold(scores, student, "llm-1", "llm-0.1").word == "gain"


def test_a_file_of_the_held_out_rows_is_refused(
    tastes: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_split(tmp_path / "split", tastes)
    held = pd.concat([tastes.validation, tastes.test])[["user_id", "item_id"]]
    write_parquet(tmp_path / "leak.parquet", pa.Table.from_pandas(held, preserve_index=False))
    command = [str(tmp_path / "split"), "--arm", f"leak={tmp_path / 'leak.parquet'}", "--student", "popularity"]
    assert main([*command, "--output", str(tmp_path / "scores")]) == 2
    assert "are validation or test rows of this split" in capsys.readouterr().err
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize(("gain", "expected"), [(0.0, False), (0.1, True), (-0.1, True)])
def test_an_alarm_is_a_difference_either_way_that_chance_does_not_explain(gain: float, expected: bool) -> None:
    users = [f"u{n}" for n in range(30)]
    noise = np.random.default_rng(0).normal(0, 0.01, 30)
    frames = [
        pd.DataFrame({"student": "ease", "arm": arm, "seed": 4000 + seed, "group": group, "user_id": users})
        .assign(**{"ndcg@20": 0.3 + (arm == "a/a") * (gain + noise - noise.mean())})
        for arm in ("real", "a/a")
        for seed in (0, 1)
        for group in ("cold", "warm", "overall")
    ]  # fmt: skip
    rows = alarms(pd.concat(frames), (1, 2))
    assert [(row["seeds"], row["group"]) for row in rows] == [
        (n, g) for n in (1, 2) for g in ("cold", "warm", "overall")
    ]
    assert {row["alarm"] for row in rows} == {expected}


def test_the_same_rows_again_raise_no_alarm_where_no_student_draws(tastes: Split) -> None:
    log = pd.concat([tastes.train, tastes.validation, tastes.test], ignore_index=True)
    rows = run(Dataset(tastes.items, log), splits=2, seeds=1, students={"ease": {"l2": 5.0}})
    assert len(rows) == 2 * 3
    assert {(row["alarm"], row["relative"]) for row in rows} == {(False, 0.0)}
    assert "| ease | 1 | cold | 0 | 2 | +0.0% | 0.0% |" in table(rows)
