"""The page holds every section, shows hostile text as text, asks the network for nothing, and says what is missing."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from page import Page
from reported import GAINS, HOSTILE, STUDENTS, write_run, write_scores, write_warm_up

from eval.report import number, relative, typeset, write_report
from eval.report_arms import FOREIGN, maker
from eval.report_plot import axis_of, warm_up
from eval.report_samples import SHOWN
from eval.verdict import write_verdict
from llm_aug.data import Sample
from llm_aug.files import read_json, write_json, write_parquet
from llm_aug.tables import samples_table

BEFORE, AFTER = (
    ["gains", "scores"],
    ["lists", "controls", "rejections", "corpus", "samples", "models", "tuning", "costs"],
)


SECTIONS = [*BEFORE, *AFTER, "provenance"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("scores")
    return [write_scores(root / f"seed-{seed}", seed, GAINS, STUDENTS) for seed in (0, 1)]


@pytest.fixture(scope="module")
def page(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    output = tmp_path_factory.mktemp("report")
    write_report(output, f"MovieLens {HOSTILE}", folders, write_run(tmp_path_factory.mktemp("run"), seeds=2))
    return Page(output / "report.html")


def test_sections_come_in_order_after_the_verdict(page: Page) -> None:
    assert page.sections == SECTIONS
    assert page.source.index("<h1>Gain: with synthetic data") < page.source.index('id="gains"')
    assert "ials on llm data against ials on real data alone" in page.text
    assert "40 users, 2 seeds" in page.text
    assert page.text.index("llm over the funnel without an LLM") < page.text.index("Failed or doubtful")
    assert 'class="absent"' not in page.source
    assert "Left out" not in page.text


def test_plot_has_a_mark_per_student_and_arm(page: Page) -> None:
    assert page.tags.count("circle") + page.source.count("<path") >= len(STUDENTS) * (len(GAINS) - 1)
    assert page.source.count('class="zero"') > 0
    assert re.search(r'aria-label="ials on llm: \+\d\.\d%, from \+\d\.\d% to \+\d\.\d%"', page.source)


def test_best_rows_are_marked(page: Page) -> None:
    table = page.section("scores")
    assert table.count("best real-only") == table.count("best merged") == 1
    assert table.index("ials") < table.index("best real-only") < table.index("best merged")


def test_the_best_are_picked_by_validation_where_there_is_any(page: Page, tmp_path: Path) -> None:
    assert "picked by validation" in page.section("scores")
    folder = write_scores(tmp_path / "s", 0, {"real": 0.0, "noise": 0.05, "llm": 0.1}, {"ials": 0.3})
    marks = [
        {"student": "ials", "arm": arm, "validation": mark} for arm, mark in (("real", 1), ("noise", 3), ("llm", 2))
    ]
    rest = {"options": {}, "weight": 1.0, "variant": 0, "tried": 1}
    write_json(folder / "tuning.json", [{**mark, **rest} for mark in marks])
    write_report(tmp_path, "T", [folder])
    assert "ials on noise data against ials on real data alone" in Page(tmp_path / "report.html").text
    (folder / "tuning.json").unlink()
    write_report(tmp_path, "T", [folder])
    page = Page(tmp_path / "report.html")
    assert "ials on llm data against ials on real data alone" in page.text
    assert "picked on these same test users, which flatters them" in page.text


def test_controls_are_explained_with_what_they_show(page: Page) -> None:
    controls = page.section("controls")
    assert "it must show no gain" in controls
    assert "drawn at random" in controls
    assert "<td>llm</td><td>funnel</td>" in controls
    assert '<td class="n">1,200</td>' in controls


def test_rejections_add_up_over_seeds(page: Page) -> None:
    words = re.sub(r"<[^>]*>", " ", page.section("rejections"))
    left = "asked 12 100.0% parsed 8 66.7% −2 empty_answer, −2 failed fidelity 2 16.7% −4 invented_facts, −2 copy"
    assert f"{left} kept 2 16.7%" in " ".join(words.split())
    assert "rows were lost" not in words


def test_what_was_kept_is_compared_with_the_real_data(page: Page) -> None:
    words = " ".join(re.sub(r"<[^>]*>", " ", page.section("corpus")).split())
    said = "told apart: 0.875, nearly always length: 12.0 (real 34.5) gini: 0.250"
    assert f"llm: 5 of kind description {said} rewrite: 1 of kind description {said}" in words
    assert "nobody's line" not in page.text


def test_samples_stand_beside_their_item_with_their_origin(page: Page) -> None:
    samples = page.section("samples")
    assert "dropped: invented_facts" in samples
    assert "rewrite/describe · builtin:mini r1 + a9 · prompt p7 · seed 41" in samples
    assert "nearest 2 (Heat)" in samples
    assert 'data-arm="llm" data-state="dropped"' in samples
    assert "fidelity 0.830" in samples
    assert 'user 3<span class="soft">, after Heat, The <b>Matrix</b></span>' in samples


def test_models_and_provenance(page: Page) -> None:
    models = page.section("models")
    assert "0.713" in models
    assert "1.410 before, 0.448 after" in models
    points = re.findall(r'points="([^"]*)"', models)
    assert len(points) == 2
    assert "nan" not in points[0]
    assert "inf" not in points[0]
    provenance = page.section("provenance")
    assert "2.13.0" in provenance
    assert "99: c0, c1" in provenance
    costs = page.section("costs")
    assert '<td class="n">180</td>' in costs  # six answers of thirty tokens
    assert '<tr><th>all</th><td class="n">50.0</td><td class="n">28</td><td class="n">840</td>' in costs


def test_hostile_text_is_shown_as_text(page: Page) -> None:
    assert HOSTILE in html.unescape(page.source)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert "<b>Matrix" not in page.source
    assert "{{ 7 * 7 }}" in page.text


def test_nothing_is_fetched(page: Page) -> None:
    assert not [name for name, _ in page.attributes if name in ("src", "href", "srcset", "action", "onerror", "style")]
    assert "@import" not in page.source
    assert "url(" not in page.source
    assert not {"link", "iframe", "object", "embed", "image"} & set(page.tags)


def test_policy_allows_the_one_script_and_no_other(page: Page) -> None:
    script = page.source.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(value for _, value in page.attributes if value and "default-src" in value)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_without_a_run_folder(folders: list[Path], tmp_path: Path) -> None:
    write_report(tmp_path / "one.html", "Scores", folders[:1])
    page = Page(tmp_path / "one.html")
    assert page.sections == SECTIONS
    assert page.source.count('class="absent"') == 7
    assert "40 users, 1 seed." in page.text
    assert "One seed: the intervals cover the choice of users" in page.text


def test_without_anything(tmp_path: Path) -> None:
    write_report(tmp_path, "Nothing", [tmp_path / "gone"], tmp_path)
    page = Page(tmp_path / "report.html")
    assert "No verdict" in page.text
    assert f"{tmp_path / 'gone'} has no per_user.parquet." in page.text
    assert page.sections == SECTIONS


def test_broken_files_are_named_and_left_out(folders: list[Path], tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "seed-0/05-kept-llm/filter.json").write_text("{", encoding="utf-8")
    (run / "seed-0/05-kept-llm/dropped.parquet").write_bytes(b"PAR1")
    write_report(tmp_path, "Broken", folders[:1], run)
    left_out = Page(tmp_path / "report.html").text.split("Left out")[1]
    assert "filter.json is not readable JSON" in left_out
    assert "dropped.parquet is not a readable parquet file" in left_out


def test_lost_rows_are_shouted(tmp_path: Path) -> None:
    counts = {"asked": 10, "parsed": 6, "rejected": 2, "failed": 1}
    write_json(tmp_path / "04-samples-llm/manifest.json", {"counts": counts})
    write_report(tmp_path, "T", [], tmp_path)
    assert "10 asked is not 6 parsed + 2 rejected + 1 failed: rows were lost." in Page(tmp_path / "report.html").text


def test_scores_of_zero_and_a_missing_group_leave_dashes(tmp_path: Path) -> None:
    folder = write_scores(tmp_path / "s", 0, {"real": 0.0, "llm": 0.0}, {"popularity": 0.0})
    frame = pd.read_parquet(folder / "per_user.parquet")
    frame = frame[frame["group"] != "cold"].assign(**{"ndcg@20": 0.0})
    write_parquet(folder / "per_user.parquet", pa.Table.from_pandas(frame, preserve_index=False))
    write_report(tmp_path, "T", [folder])
    page = Page(tmp_path / "report.html")
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)
    assert '<td class="n">–</td>' in page.section("scores")
    assert "nothing to plot" in page.text


def test_many_samples_are_cut_and_shared_among_arms(tmp_path: Path) -> None:
    for arm in ("one", "two"):
        samples = [Sample(f"{arm}/{n}", "description", f"{n}", text=f"text of {arm}") for n in range(3 * SHOWN)]
        write_parquet(tmp_path / f"04-samples-{arm}/samples.parquet", samples_table(samples))
    write_report(tmp_path, "T", [], tmp_path)
    samples_section = Page(tmp_path / "report.html").section("samples")
    assert samples_section.count("text of one") == samples_section.count("text of two") == SHOWN // 2


def test_the_page_and_the_files_hold_the_same_numbers(page: Page, folders: list[Path], tmp_path: Path) -> None:
    write_verdict(tmp_path, folders)
    table = page.section("scores")
    for row in read_json(tmp_path / "metrics.json"):
        if row["metric"] == "ndcg":
            assert f'<td class="n">{row["mean"]:.4f}</td>' in table
    lists = page.section("lists")
    assert '<td class="n">0.625' in lists
    assert '<td class="n">0.250<' in lists  # 1 of 4 relevant cold items is found
    for row in read_json(tmp_path / "comparisons.json"):
        if (row["against"], row["group"], row["arm"]) == ("funnel", "overall", "llm"):
            assert number(row["gain"], 4, "+") in page.section("controls")


def test_the_warm_up_has_a_line_per_arm_and_is_left_out_without_a_sweep(page: Page, tmp_path: Path) -> None:
    assert 'id="warm-up"' not in page.source
    write_warm_up(tmp_path / "sweep")
    write_report(tmp_path, "T", [tmp_path / "sweep"])
    swept = Page(tmp_path / "report.html")
    assert swept.sections == [*BEFORE, "warm-up", *AFTER, "provenance"]
    assert swept.tags.count("polygon") == 2
    assert "per_user.parquet." not in swept.text.split("Provenance")[1]
    assert '<td class="n">0.5000</td><td class="n">0.4500 to 0.5500</td>' in swept.section("warm-up")


def test_the_warm_up_of_several_splits_is_averaged() -> None:
    row = {"student": "ials", "arm": "real", "k": 0, "group": "cold", "low": 0.0, "high": 1.0}
    drawn = warm_up([{**row, "mean": mean} for mean in (0.25, 0.75)])
    assert drawn
    assert drawn["plots"][0]["lines"][0]["points"] == "0.0,50.00"


def test_an_arm_from_elsewhere_is_shown_as_such(tmp_path: Path) -> None:
    write_report(tmp_path, "T", [write_scores(tmp_path / "s", 0, {"real": 0.0, "theirs": 0.1}, {"ials": 0.3})])
    assert FOREIGN in Page(tmp_path / "report.html").section("controls")
    assert [maker("theirs", ["foreign"]), maker("theirs", ["vae/pairs"]), maker("llm+noise", ())] == [
        FOREIGN,
        "vae/pairs",
        "",
    ]


def test_what_a_filter_took_without_scores_is_one_bar(tmp_path: Path) -> None:
    counts = {"judged": 10, "kept": 7, "dropped": 3}
    write_json(tmp_path / "05-kept-llm/filter.json", {"counts": counts, "reasons": {"copy": 3}})
    write_report(tmp_path, "T", [], tmp_path)
    assert "judged 10 100.0% filter 7 70.0% −3 copy kept 7 70.0%" in Page(tmp_path / "report.html").text


def test_axis_holds_zero_and_is_not_stretched_by_one_long_interval() -> None:
    axis = axis_of([0.01, 0.02, -0.9], [0.03, 0.04, -0.8])
    assert axis.at(0.0) > 50
    assert axis.low == pytest.approx(-0.16 - 0.04 * 0.2)
    assert [label for _, label in axis.ticks] == ["−15%", "−10%", "−5%", "0"]


def test_numbers_that_are_none_show_a_dash() -> None:
    assert [number(None), number(float("nan"), 3), relative(float("inf"))] == ["–"] * 3
    assert [number(-1234.5, 1), relative(-0.031)] == ["−1,234.5", "−3.1%"]
    assert relative(1.424) == "+142%"
    assert [number(-0.0004, 1), relative(-0.0004)] == ["0.0", "+0.0%"]
    assert typeset("a/a-1: (-0.01, two-tower)") == "a/a-1: (−0.01, two-tower)"
