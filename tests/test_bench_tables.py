"""What the benchmarks of tasks and of cold users print, from the files that a run leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eval.bench import tasks, user_cold
from eval.bench.report import print_page
from llm_aug.builtin.reserved import reserved
from llm_aug.data import Split, tidy_interactions, tidy_items
from llm_aug.files import write_json
from llm_aug.splits import split_hash


def comparison(arm: str, against: str, gain: float) -> dict[str, Any]:
    own = {"student": "ease", "against_student": "ease", "group": "cold", "word": "gain"}
    ends = {"gain": gain, "low": gain / 2, "high": 2 * gain, "relative": gain / 0.1}  # on the seeds of both
    return {**own, "arm": arm, "against": against, **ends}


def test_the_row_of_an_arm_says_what_it_gains_and_over_what(tmp_path: Path) -> None:
    mean = {"student": "ease", "group": "cold", "metric": "ndcg", "k": 20, "users": 9, "seed_count": 2}
    other = {**mean, "arm": "history", "mean": 9.0}
    rows = [{**mean, "arm": "real", "mean": 0.2}, {**mean, "arm": "popular-items", "mean": 0.21}]
    rows += [{**mean, "arm": "history", "mean": 0.22}, {**other, "k": 10}, {**other, "group": "overall"}]
    write_json(tmp_path / "metrics.json", rows)
    found = [comparison("history", "real", 0.02), comparison("history", "popular-items", 0.01)]
    write_json(tmp_path / "comparisons.json", [*found, comparison("popular-items", "real", 0.01)])
    for seed, popular in ((0, 30), (1, 29)):
        volumes = {"real": 0, "history": 30, "popular-items": popular, "a/a": 0}
        arms = [{"arm": arm, "pairs": pairs, "texts": 0} for arm, pairs in volumes.items()]
        write_json(tmp_path / f"seed-{seed}" / "06-scores" / "arms.json", {"arms": arms})
    read = user_cold.of_cold_users(tmp_path, "history")
    assert [row["arm"] for row in read] == ["real", "popular-items", "history"]
    assert read[2]["gain"] == pytest.approx(0.2)
    lines = user_cold.table([{"recipe": "films", "revealed": 3, **row} for row in read]).splitlines()
    assert lines[2] == "| films | 3 | ease | real | 2 |  | 0.2000 |  | gain |"
    assert lines[3] == "| films | 3 | ease | popular-items | 2 | 30* | 0.2100 | gain +10.0% (+5.0% to +20.0%) | gain |"
    assert lines[4] == "| films | 3 | ease | history | 2 | 30 | 0.2200 | gain +20.0% (+10.0% to +40.0%) |  |"


def test_the_row_of_a_task_counts_what_came_of_it() -> None:
    row = {"data": "films", "adapter": "own", "task": "history/extend", "asked": 9, "parsed": 6, "kept": 5}
    row |= {"reasons": {"echo": 2, "empty": 1}, "dropped": {"in_train": 1}, "metrics": {"grounding_rate": 0.5}}
    judge = {
        "data": "films",
        "adapter": "own",
        "task": "judge/history",
        "asked": 9,
        "parsed": 9,
        "metrics": {"judge": 0.5},
    }
    lines = tasks.table([row, judge]).splitlines()
    counts = "9 | 6 | 5 | 56% | echo 2, empty 1 | in_train 1"
    assert lines[2] == f"| films | own | history/extend | {counts} | grounded 50.0% |"
    assert lines[3] == "| films | own | judge/history | 9 | 9 | - | - |  |  | AUC of the judge 0.500 |"


def test_a_page_says_how_it_was_made(capsys: pytest.CaptureFixture[str]) -> None:
    print_page("Numbers", "| a |\n")
    out = capsys.readouterr().out
    assert out.startswith("# Numbers\n\n`python -m ")
    assert out.endswith("\n\n| a |\n")


def test_what_could_not_be_asked_did_not_fail() -> None:
    row = {"asked": 10, "kept": 3, "reasons": {"no_description": 4, "echo": 1}}
    assert tasks.passed(row) == 0.5
    assert tasks.passed({"asked": 4, "kept": 0, "reasons": {"one_source": 4}}) is None


def test_a_catalogue_falls_into_what_is_taught_and_what_is_asked() -> None:
    titles = [f"Story {number}" for number in range(60)]
    items = tidy_items(pd.DataFrame({"item_id": titles, "title": titles}))
    log = tidy_interactions(pd.DataFrame({"user_id": "u", "item_id": titles}))
    kept = {title for title in titles if not reserved(title)}
    assert 40 < len(kept) < 60
    parts = (log.iloc[:30], log.iloc[30:45], log.iloc[45:])
    split = Split(items, *parts, tuple(titles[30:]), (), split_hash(items, parts))
    taught, asked = (tasks.part_of(split, one) for one in (lambda title: title in kept, reserved))
    assert set(taught.items["item_id"]) == kept
    assert set(asked.items["item_id"]) == set(titles) - kept
    assert {item for rows in taught.parts.values() for item in rows["item_id"]} == kept
    assert set(taught.cold_items) == kept & set(titles[30:])
    assert taught.hash != split.hash
