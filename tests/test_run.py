"""What `llm-aug status` says of a stage, from its files and its lock alone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from llm_aug.answers import is_locked
from llm_aug.cli import app
from llm_aug.config import recipe_of
from llm_aug.errors import InputError
from llm_aug.files import fingerprint, write_json, write_text
from llm_aug.progress import FILE
from llm_aug.run import CONFIG, status

MARK = {"stage": "rewrite", "state": "running", "fingerprint": "9c1f", "recipe": {}, "size": {}}


def progress(folder: Path, **changes: Any) -> None:
    state = {"stage": "rewrite/describe", "done": 342, "total": 500, "tokens_per_second": 512.3, "seconds_left": 95}
    state |= {"reasons": {"truncated": 3}, "note": "", "updated": time.time(), **changes}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(state))


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A stage at work, its lock not held yet."""
    folder = tmp_path / "samples"
    write_json(folder / "stage.json", MARK)
    progress(folder)
    return folder


def test_a_stage_at_work_shows_how_far_it_is(stage: Path) -> None:
    with FileLock(stage / ".lock"):
        (row,) = status(stage)
        assert (row["stage"], row["state"]) == ("rewrite", "running")
        assert row["line"] == "342/500, 512 tokens/s, 2 min left, truncated: 3"
        assert row["progress"]["seconds_left"] == 95
        assert is_locked(stage), "a look took the lock away"


def test_a_stage_that_nobody_works_on_was_stopped(stage: Path) -> None:
    for _ in range(2):
        (row,) = status(stage)
        assert (row["state"], row["line"]) == ("stopped", "342/500, truncated: 3; the same command goes on")


def test_long_silence_is_told(stage: Path) -> None:
    progress(stage, updated=time.time() - 600)
    with FileLock(stage / ".lock"):
        (row,) = status(stage)
    assert row["line"].endswith("2 min left, truncated: 3, nothing heard for 10 min")


@pytest.mark.parametrize("content", ["", '{"done": 3', "[]"])
def test_a_torn_file_of_progress_is_left_aside(stage: Path, content: str) -> None:
    (stage / FILE).write_text(content)
    (row,) = status(stage)
    assert (row["state"], row["line"], row["progress"]) == ("stopped", "the same command goes on", None)


def test_what_is_done_is_done_whatever_else_lies_there(stage: Path) -> None:
    done = {**MARK, "state": "done", "line": "500 asked", "counts": {}, "seconds": 1, "files": {}}
    write_json(stage / "stage.json", {**done, "digest": fingerprint(done)})
    with FileLock(stage / ".lock"):
        (row,) = status(stage)
    assert (row["state"], row["line"], row["progress"]) == ("done", "500 asked", None)


@pytest.mark.parametrize("named", ["adapter", "adapter.partial"])
def test_fine_tuning_is_seen_in_its_folder_of_before(tmp_path: Path, named: str) -> None:
    partial = tmp_path / "adapter.partial"
    progress(partial, stage="fine-tuning", done=3, total=8, note="loss 1.234", reasons={})
    (row,) = status(tmp_path / named)
    assert (row["stage"], row["state"], row["folder"]) == ("fine-tuning", "stopped", ".")
    assert row["line"] == "3/8, loss 1.234; the same command goes on"
    with FileLock(partial / ".lock"):
        (row,) = status(tmp_path / named)
    assert (row["state"], row["line"]) == ("running", "3/8, loss 1.234, 512 tokens/s, 2 min left")


def test_here_is_a_folder_too(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stage)
    (row,) = status(Path())
    assert row["state"] == "stopped"


def test_a_folder_of_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds neither a run"):
        status(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_run_shows_every_stage(tmp_path: Path) -> None:
    write_text(tmp_path / CONFIG, json.dumps(recipe_of(["finetune=null"], arms=["llm"]).resolved()))
    samples = tmp_path / "seed-0" / "04-samples-llm"
    write_json(samples / "stage.json", {**MARK, "stage": "interactions by llm"})
    progress(samples, stage="judge: cold")
    with FileLock(samples / ".lock"):
        result = CliRunner().invoke(app, ["status", str(tmp_path)])
        rows = json.loads(CliRunner().invoke(app, ["status", str(tmp_path), "--json"]).stdout)
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["to", "to", "running", "to", "to"]
    assert lines[2].split(maxsplit=2)[1:] == [
        "seed-0/04-samples-llm",
        "342/500, 512 tokens/s, 2 min left, truncated: 3",
    ]
    assert [row["state"] for row in rows] == ["to do", "to do", "running", "to do", "to do"]
    assert (rows[2]["stage"], rows[2]["progress"]["stage"]) == ("llm", "judge: cold")
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG, "seed-0"]
