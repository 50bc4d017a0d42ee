from __future__ import annotations

from pathlib import Path

import pytest

from llm_aug.errors import InputError
from llm_aug.stage import Outcome, once, read_mark


def failing() -> Outcome:
    raise InputError("no items are left")


def test_a_stage_that_made_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no items are left"):
        once(tmp_path / "out", "prepare", {"a": 1}, failing)
    assert not (tmp_path / "out").exists()


def test_a_stage_that_was_cut_short_keeps_its_work_and_its_mark(tmp_path: Path) -> None:
    def cut_short() -> Outcome:
        (tmp_path / "out" / "answers.txt").write_text("an hour's work")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        once(tmp_path / "out", "generate", {"a": 1}, cut_short)
    assert (tmp_path / "out" / "answers.txt").read_text() == "an hour's work"
    mark = read_mark(tmp_path / "out")
    assert mark is not None
    assert mark["state"] == "running"
    with pytest.raises(InputError):  # a later failure does not sweep what an earlier run has made
        once(tmp_path / "out", "generate", {"a": 1}, failing)
    assert (tmp_path / "out" / "answers.txt").exists()
