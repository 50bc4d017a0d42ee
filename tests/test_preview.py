"""`generate --preview`: prompts, answers and verdicts side by side, and nothing written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from shop import write_script, write_source
from typer.testing import CliRunner

from llm_aug.cli import app
from llm_aug.splits import read_split


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preview")
    source = str(write_source(folder / "source"))
    for command in (
        ["prepare", source, "--column", "item_id=asin", "--output", str(folder / "data")],
        ["split", str(folder / "data"), "--output", str(folder / "split")],
    ):
        assert CliRunner().invoke(app, command).exit_code == 0
    return folder / "split"


def preview(cut: Path, model: str, *more: str) -> tuple[int, str, str]:
    command = ["generate", str(cut), "--task", "rewrite", "--model", model, "--encoder", "hash:64", "--preview", "3"]
    found = CliRunner().invoke(app, [*command, *more])
    return found.exit_code, found.stdout, found.stderr


def test_everything_of_a_request_stands_together(cut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(path for path in cut.rglob("*"))
    code, shown, _ = preview(cut, write_script(tmp_path / "script.json"))
    assert code == 0
    assert shown.count("--- rewrite/describe/") == 3
    for part in (
        "[system]\nWrite a description",
        "[user]\nTitle: ",
        "[answer: stop,",
        "[sample: description of",
        "[filter] ",
    ):
        assert shown.count(part) == 3, part
    assert sorted(path for path in cut.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["script.json"]


def test_what_was_rejected_is_shown_with_its_reason(cut: Path, tmp_path: Path) -> None:
    code, shown, _ = preview(cut, write_script(tmp_path / "script.json", pattern="Title", answer=""))
    assert code == 0
    assert shown.count("[rejected] empty") == 3


def test_a_folder_or_a_preview_is_asked_for(cut: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["generate", str(cut), "--task", "rewrite"])
    assert found.exit_code == 2
    assert "name an --output folder, or --preview N" in found.stderr
    code, _, told = preview(cut, write_script(tmp_path / "script.json"), "--task", "rewriet")
    assert code == 2
    assert "did you mean 'rewrite'" in told


def test_items_of_a_sample_are_shown_by_title(cut: Path, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"rules": [{"pattern": "Liked", "answer": ""}]}))
    options = ("--task", "history", "--option", "users_with_at_most=99", "--option", "constrained=true")
    code, out, err = preview(cut, f"scripted:{tmp_path / 'model.json'}", *options)
    assert code == 0, err
    told = re.findall(r"^\S+ -> (\S+) (.+)$", out, re.MULTILINE)
    items = read_split(cut).items
    assert len(told) == 15
    assert set(told) <= set(zip(items["item_id"], items["title"], strict=True))
