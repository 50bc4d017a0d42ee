"""README.md: its table comes from a run's files, its commands are the ones that CI runs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from eval.bench import readme
from llm_aug.cli import app
from llm_aug.config import load_recipe
from llm_aug.starters import write_starter

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "movies"
    judged = folder / "seed-0" / "04-samples-llm"
    judged.mkdir(parents=True)
    row: dict[str, Any] = {
        "student": "ials",
        "group": "overall",
        "metric": "ndcg",
        "k": 20,
        "users": 9,
        "seed_count": 3,
    }
    metrics = [row | {"arm": "real", "mean": 0.1, "low": 0.09, "high": 0.11}]
    gain = {"student": "ials", "against_student": "ials", "arm": "llm", "against": "real", "group": "overall"}
    points = {"gain": 0.05, "low": 0.04, "high": 0.06, "relative": 0.5, "word": "gain", "users": 9}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "comparisons.json").write_text(
        json.dumps([gain | points, gain | points | {"relative": None, "arm": "a/a"}])
    )
    (folder / "verdict.txt").write_text("Best single model on merged data,\n  ials.\n\nials on llm data: gain.\n")
    (judged / "metrics.json").write_text(json.dumps({"auc_in_pseudo_cold_lists": {"funnel": 0.7, "judge": 0.5}}))
    return folder


def test_a_section_holds_the_table_the_headline_and_each_question(run: Path) -> None:
    text = readme.section(run)
    assert text.startswith("## movies\n\nNDCG@20 over 3 splits")
    assert "| ials | real | - | - | 0.100 | 0.090 to 0.110 |" in text
    assert "- Best single model on merged data, ials.\n" in text
    assert "ials on llm data" not in text
    assert "overall: ials gain +50.0 % (+40.0 to +60.0)." in text
    assert "funnel 0.700; judge 0.500" in text


def test_a_brief_has_the_overall_figures_by_arm(run: Path) -> None:
    row = json.loads((run / "metrics.json").read_text())[0]
    more = [{"arm": "llm", "mean": 0.15}, {"student": "ease", "mean": 0.2}, {"group": "cold", "mean": 0.9}]
    (run / "metrics.json").write_text(json.dumps([row, *(row | other for other in more), row | {"k": 10, "arm": "x"}]))
    rows = ["| student | real | llm |", "|---|---:|---:|", "| ials | 0.100 | 0.150 |", "| ease | 0.200 | - |"]
    assert "\n".join(rows) in readme.brief(run)


def test_the_tables_go_between_the_marks_and_to_the_page(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "README.md"
    copy.write_text("before\n<!-- results: by script -->\nstale\n<!-- end -->\nafter\n")
    monkeypatch.setattr(readme, "README", copy)
    monkeypatch.setattr(readme, "PAGE", tmp_path / "VERDICTS.md")
    readme.main([str(run)])
    text = copy.read_text()
    assert text.startswith("before\n<!-- results: by script -->\n")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "stale" not in text
    assert "| ials | 0.100 |" in text
    assert "| ials | real |" in (tmp_path / "VERDICTS.md").read_text()


@pytest.mark.parametrize("mark", ["demo", "tests"])
def test_each_command_does_its_own_set_up(mark: str) -> None:
    block = re.search(rf"<!-- {mark} -->\n```sh\n(.*)\n```\n<!-- end -->", README.read_text())
    assert block is not None
    assert block[1].startswith("python3 -m venv .venv && .venv/bin/pip install ")


COMMANDS = re.findall(
    r"(?:^|`)(?:torchrun --nproc_per_node 4 -m )?llm[-_]aug ([a-z](?:(?! #)[^`\n])*)", README.read_text(), re.MULTILINE
)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one_that_the_program_takes(line: str, tmp_path: Path) -> None:
    name, *arguments = shlex.split(line)
    group = typer.main.get_command(app)
    context = group.make_context("llm-aug", [name])
    found = group.get_command(context, name).make_context(name, arguments, parent=context)  # type: ignore[attr-defined]
    if overrides := found.params.get("overrides"):
        load_recipe(write_starter(tmp_path), overrides)


def test_the_commands_are_there() -> None:
    assert len(COMMANDS) > 30
