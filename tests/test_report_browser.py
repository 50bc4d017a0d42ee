"""The report in a real browser: quiet, self-contained, searchable, and no wider than the screen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reported import GAINS, HOSTILE, STUDENTS, write_run, write_scores, write_warm_up

from eval.report import write_report

pytestmark = pytest.mark.slow
WIDTHS = (1300, 400)
NAMES = ("chromium", "chromium-browser", "google-chrome")
LONG = "an-arm-of-which-nobody-knows-who-called-it-by-so-long-a-name"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    folder = write_scores(root / "scores", 0, {**GAINS, LONG: 0.01}, STUDENTS)
    write_warm_up(folder)
    write_report(root, f"Shop {HOSTILE}", [folder], write_run(root / "run"))
    return root / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `dev`: playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if not path:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is there")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-background-networking"])
        yield browser
        browser.close()


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> int:
    assert isinstance(request.param, int)
    return request.param


@pytest.fixture
def page(browser: Any, report: Path, width: int) -> Iterator[Any]:
    """Fails where the page logs an error, opens a dialog, or asks for anything but itself."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert said == []
    assert asked == [report.as_uri()]


def test_the_verdict_is_what_one_sees_first(page: Any) -> None:
    headline = page.locator("h1")
    assert headline.inner_text().startswith("Gain: with synthetic data")
    box = headline.bounding_box()
    assert box["y"] + box["height"] < 900
    assert page.locator("#verdict li").first.bounding_box()["y"] < page.locator("#gains").bounding_box()["y"]


def test_nothing_is_wider_than_the_screen_with_every_detail_open(page: Any, width: int) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = """width => [...document.querySelectorAll("body *")].filter(one => !one.closest(".scroll, svg")
        && one.getBoundingClientRect().right > width).map(one => one.outerHTML.slice(0, 200))"""
    assert page.evaluate(wide, width) == []


def test_the_plot_has_a_mark_per_student_and_arm(page: Any) -> None:
    """A dot, or an arrow where it lies beyond the axis; of real data there is none."""
    drawn = page.locator("#gains .row g").filter(has=page.locator("circle, path"))
    assert drawn.count() == len(STUDENTS) * len(GAINS)  # real is not drawn, the long name is
    assert all(box["width"] > 0 for box in (drawn.nth(place).bounding_box() for place in range(drawn.count())))


def test_the_search_and_the_choices_filter_the_samples(page: Any) -> None:
    shown = page.locator("article:visible")
    total = shown.count()
    page.fill("#query", "COWBOY invented_facts")
    assert shown.count() == 1
    assert "A cowboy doll" in shown.inner_text()
    assert page.locator("#found").inner_text() == f"1 of {total}"
    page.fill("#query", "no such words")
    assert shown.count() == 0
    page.fill("#query", "")
    page.select_option("#only-arm", "llm")
    assert shown.count() == 6
    page.select_option("#only-state", "dropped")
    assert shown.count() == 1
    assert "popular_user" in shown.inner_text()
    page.select_option("#only-arm", "")
    assert shown.count() == 4


def test_hostile_text_is_read_as_text(page: Any) -> None:
    assert HOSTILE in page.locator("header p").first.inner_text()
    assert HOSTILE in page.locator("blockquote").all_inner_texts()
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1


def test_the_warm_up_draws_a_line_per_arm(page: Any) -> None:
    lines = page.locator("#warm-up polyline")
    assert lines.count() == 2
    assert lines.first.bounding_box()["width"] > 100
