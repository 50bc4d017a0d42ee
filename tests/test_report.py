"""The page holds every section, shows hostile text as text, asks the network for nothing, and says what is missing."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from eval.report import axis_of, number, relative, typeset, write_report
from eval.report_run import SHOWN
from llm_aug.data import Origin, Pair, Reject, Sample
from llm_aug.files import write_json, write_parquet, write_text
from llm_aug.tables import rejects_table, samples_table

HOSTILE = "<script>alert('x')</script><img src=http://evil.example/a onerror=alert(1)> {{ 7 * 7 }} & \"quoted\""
GAINS = {"real": 0.0, "a/a": 0.0, "random": -0.08, "funnel": 0.01, "llm": 0.02}
STUDENTS = {"content": 0.2, "ials": 0.3}
VOID = {"meta", "input", "link", "br", "img", "line", "circle", "rect", "path", "polyline"}
SECTIONS = ["gains", "scores", "controls", "rejections", "corpus", "samples", "models", "tuning", "provenance"]


def write_scores(folder: Path, seed: int, gains: dict[str, float], students: dict[str, float], users: int = 40) -> Path:
    """Each user's NDCG is the student's level, plus the user's own, plus the arm's gain, plus a little noise."""
    random = np.random.default_rng(seed)
    own = np.abs(random.normal(0, 0.1, users))
    frames = [
        pd.DataFrame(
            {
                "student": student,
                "arm": arm,
                "seed": seed,
                "group": group,
                "user_id": [f"u{user}" for user in range(users)],
                "ndcg@20": level + own + gain * (2 if group == "cold" else 1) + random.normal(0, 0.01, users),
                "recall@20": 0.5,
            }
        )
        for student, level in students.items()
        for arm, gain in gains.items()
        for group in ("cold", "warm", "overall")
    ]
    write_parquet(folder / "per_user.parquet", pa.Table.from_pandas(pd.concat(frames), preserve_index=False))
    volumes = [{"arm": arm, "pairs": 0 if arm == "real" else 1200, "texts": 0} for arm in gains]
    write_json(folder / "arms.json", {"encoder": "minilm", "split_hash": f"hash{seed}", "arms": volumes})
    choice = {"options": {"factors": 64, "l2": 0.1}, "weight": 0.5, "variant": 2, "tried": 8}
    chosen = [
        {"student": student, "arm": arm, "validation": level + gain, **choice}
        for student, level in students.items()
        for arm, gain in gains.items()
    ]
    write_json(folder / "tuning.json", chosen)
    return folder


def write_run(run: Path, seeds: int = 1) -> Path:
    """A run's folders as the pipeline leaves them, with a hostile item and a hostile answer."""
    titles = ["Toy Story", "Heat", "The <b>Matrix</b>", HOSTILE]
    items = pd.DataFrame({"item_id": list("1234"), "title": titles, "description": "", "genres": "Comedy|Drama"})
    versions = {"python": "3.11.9", "torch": "2.13.0"}
    write_json(run / "manifest.json", {"config": {"seed": 0, "model": "builtin:mini"}, "versions": versions})
    for seed in range(seeds):
        home = run / f"seed-{seed}"
        write_parquet(home / "02-split/items.parquet", pa.Table.from_pandas(items, preserve_index=False))
        log = pd.DataFrame({"user_id": ["3", "0", "3"], "item_id": ["2", "4", "3"]})
        write_parquet(home / "02-split/train.parquet", pa.Table.from_pandas(log, preserve_index=False))
        split = {
            "strategy": "item-random",
            "seed": seed,
            "hash": f"hash{seed}",
            "cold_items": [f"c{n}" for n in range(99)],
        }
        write_json(home / "02-split/split.json", split)
        curve = [[step, 0.4 + 2 / (step + 2)] for step in range(1, 300)] + [[300, float("inf")]]
        speed = {"steps": 300, "seconds": 61.5, "tokens_per_second": 5210.4, "examples": 2400}
        losses = {"validation_before": 1.41, "validation_after": 0.448, "options": {"model": "builtin:mini"}}
        write_text(home / "03-adapter/finetune.json", pd.Series({"curve": curve, **speed, **losses}).to_json())
        _write_arm(home, "rewrite", _texts(seed), {"invented_facts": 2, "copy": 1})
        _write_arm(home, "llm", _pairs(seed), {"popular_user": 1})
        auc = {"funnel": 0.7131, "judge": 0.6544, "both": 0.7402}
        write_json(home / "04-samples-llm/metrics.json", {"auc_in_pseudo_cold_lists": auc})
    return run


def _texts(seed: int) -> list[Sample]:
    origin = Origin("rewrite/describe", model="builtin:mini", revision="r1", adapter="a9", seed=41 + seed)
    words = [
        "A cowboy doll meets a spaceman and learns to share.",
        "A thief and a policeman; a long night.",
        "",
        HOSTILE,
    ]
    return [
        Sample(f"rewrite/describe/{n}/0", "description", f"{n}", text=text, origin=origin)
        for n, text in enumerate(words, start=1)
    ]


def _pairs(seed: int) -> list[Sample]:
    origin = Origin("interactions/llm", model="builtin:mini", seed=seed)
    return [
        Sample(f"llm/{user}/1", "interactions", "1", None, (Pair(f"{user}", "1"),), weight=0.5, origin=origin)
        for user in range(6)
    ]


def _write_arm(home: Path, arm: str, samples: list[Sample], reasons: dict[str, int]) -> None:
    asked, kept = home / f"04-samples-{arm}", home / f"05-kept-{arm}"
    n, lost = len(samples), sum(reasons.values())
    counts = {"asked": n + 2, "parsed": n, "rejected": 1, "failed": 1, "reused": 0}
    write_json(asked / "stage.json", {"stage": arm, "line": f"{n + 2} asked = {n} parsed", "seconds": 12.5})
    write_json(asked / "manifest.json", {"fingerprint": "9c1f", "config": {}, "state": "done", "counts": counts})
    write_parquet(asked / "samples.parquet", samples_table(samples))
    write_parquet(asked / "rejects.parquet", rejects_table([Reject("1", "rewrite", "empty_answer")]))
    answers = pa.table({"key": [f"k{i}" for i in range(n + 2)], "n_tokens": [30] * (n + 2)})
    write_parquet(asked / "answers/000000.parquet", answers)
    write_parquet(kept / "kept.parquet", samples_table(samples[lost:]))
    dropped = samples_table(samples[:lost]).append_column("reason", pa.array(list(reasons) * 2)[:lost])
    write_parquet(kept / "dropped.parquet", dropped.append_column("nearest", pa.array(["2"] * lost)))
    scores = {"sample_id": [sample.sample_id for sample in samples], "fidelity": [0.83, None] * (n // 2)}
    scores |= {"dropped_by": ["fidelity"] * n, "fidelity_nearest": ["2"] * n}
    write_parquet(kept / "scores.parquet", pa.table(scores))
    sides = {"synthetic": {"length": 12.0, "gini": 0.25}, "real": {"length": 34.5}}
    write_json(
        kept / "corpus.json", {"description": {"samples": n - lost, "auc": 0.875, "length_drift": None, **sides}}
    )
    summary = {"counts": {"judged": n, "kept": n - lost, "dropped": lost}, "reasons": reasons, "encoder": "minilm"}
    summary["borderline"] = {"fidelity": [{"sample_id": "nobody's line", "score": 0.5}]}
    write_json(kept / "filter.json", summary)


class Page(HTMLParser):
    """Checks that tags nest, and collects attributes, the text and the ids of sections."""

    def __init__(self, path: Path):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def sections(self) -> list[str | None]:
        return [value for name, value in self.attributes if name == "id" and value not in ("query", "found")]

    def section(self, name: str) -> str:
        return html.unescape(re.split(r"<section id=", self.source.split(f'<section id="{name}">')[1])[0])


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
    for line in ("asked 12 100.0%", "parsed 8 66.7%", "kept 2 16.7%", "rejected: empty_answer 2", "copy 2"):
        assert line in " ".join(words.split())
    assert "rows were lost" not in words


def test_what_was_kept_is_compared_with_the_real_data(page: Page) -> None:
    rows = re.findall(r"<tr><td>(.*?)</tr>", page.section("corpus"))
    cells = [re.sub(r"<[^>]*>", " ", row).split() for row in rows]
    dashes = ["–"] * 2
    assert cells == [
        ["llm", "description", "5", "12.0", "(34.5)", *dashes, "0.250", *dashes, "0.875", "–"],
        ["rewrite", "description", "1", "12.0", "(34.5)", *dashes, "0.250", *dashes, "0.875", "–"],
    ]
    assert "nobody's line" not in page.text


def test_samples_stand_beside_their_item_with_their_origin(page: Page) -> None:
    samples = page.section("samples")
    assert "dropped: invented_facts" in samples
    assert "rewrite/describe · builtin:mini r1 + a9 · seed 41" in samples
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
    assert '<td class="n">180</td>' in provenance  # six answers of thirty tokens


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
    assert "1 seed. With one seed the interval" in page.text


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
    header = (tmp_path / "report.html").read_text(encoding="utf-8").split("</header>")[0]
    assert "<h1>Gain" in header
    assert "Warm items fall by more than 2 %, ials on llm data: −" in header


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
