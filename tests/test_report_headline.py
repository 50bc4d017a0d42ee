"""What a report says first: gain or harm, and what to know before believing it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from page import Page
from reported import write_scores

from eval.report import write_report
from llm_aug.files import write_parquet


@pytest.mark.parametrize(
    ("gains", "headline"),
    [
        ({"real": 0.0, "llm": 0.05}, "Gain: with synthetic data, recommendation is better by"),
        ({"real": 0.0, "llm": -0.05}, "Harm: with synthetic data, recommendation is worse by"),
        ({"real": 0.0, "llm": 0.0}, "No gain: with synthetic data, recommendation is not measurably better"),
        ({"real": 0.0}, "Nothing was compared"),
    ],
)
def test_headline(gains: dict[str, float], headline: str, tmp_path: Path) -> None:
    write_report(tmp_path, "T", [write_scores(tmp_path / "s", 0, gains, {"ials": 0.3})])
    assert f"<h1>{headline}" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_failed_control_stands_above_the_headline(tmp_path: Path) -> None:
    write_report(
        tmp_path, "T", [write_scores(tmp_path / "s", 0, {"real": 0.0, "a/a": 0.05, "llm": 0.1}, {"ials": 0.3})]
    )
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 0 < source.index("A control failed") < source.index("<h1>")


def test_best_data_that_is_not_the_llms_is_said_so(tmp_path: Path) -> None:
    gains = {"real": 0.0, "funnel": 0.1, "llm": 0.05}
    write_report(tmp_path, "T", [write_scores(tmp_path / "s", 0, gains, {"ials": 0.3})])
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The best merged data came from funnel, not from the LLM." in source


def test_a_fall_of_warm_items_is_said_beside_the_headline(tmp_path: Path) -> None:
    folder = write_scores(tmp_path / "s", 0, {"real": 0.0, "llm": 0.1}, {"ials": 0.3})
    frame = pd.read_parquet(folder / "per_user.parquet")
    frame.loc[(frame["group"] == "warm") & (frame["arm"] == "llm"), "ndcg@20"] *= 0.5
    write_parquet(folder / "per_user.parquet", pa.Table.from_pandas(frame, preserve_index=False))
    write_report(tmp_path, "T", [folder])
    before = Page(tmp_path / "report.html").text.split("Gain over real data")[0]
    assert "Warm items: ials on llm data −" in before
    assert "1 of 1 models loses over 2 %." in before
