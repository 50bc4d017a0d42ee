"""A stage is done once, by one process, and what it wrote is read only as it was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from llm_aug import stage
from llm_aug.errors import InputError, Resumable, ResumeRefused
from llm_aug.files import read_json, sha256_file, temporary_for, write_json, write_text
from llm_aug.stage import Outcome, check, checked, once, read_mark


def failing() -> Outcome:
    raise InputError("no items are left")


def never() -> Outcome:
    raise AssertionError("done twice")


def made(folder: Path, recipe: int = 1, **options: Any) -> Outcome:
    def work() -> Outcome:
        write_text(folder / "rows.txt", "apple")
        write_text(folder / "deep" / "er.txt", "pear")
        write_text(folder / "answers" / "0.txt", "raw")
        write_text(folder / "progress.json", "{}")
        return Outcome("2 rows", {"rows": 2})

    return once(folder, "prepare", {"a": recipe}, work, **options)


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


def test_what_is_done_is_not_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = made(tmp_path / "out")
    assert once(tmp_path / "out", "prepare", {"a": 1}, never) == first
    assert "prepare: done, kept (2 rows)" in capsys.readouterr().err
    with pytest.raises(ResumeRefused, match="a was 1, is 2"):
        once(tmp_path / "out", "prepare", {"a": 2}, never)
    assert made(tmp_path / "out", size={"limit": 3}) == first


def test_a_mark_lists_results_and_nothing_else(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / ".rows.txt.0.tmp").write_text("torn")
    mark = read_json(tmp_path / "stage.json")
    names = ("deep/er.txt", "rows.txt")
    assert mark["files"] == {name: sha256_file(tmp_path / name) for name in names}


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "answers").mkdir()
    write_json(tmp_path / "stage.json", {"stage": "x", "state": "running", "fingerprint": "", "recipe": {}, "size": {}})
    for name in (".rows.txt.0.tmp", "answers/.0.parquet.1.tmp"):
        (tmp_path / name).write_text("torn")
    made(tmp_path)
    assert list(tmp_path.rglob("*.tmp")) == []


def test_a_writer_killed_before_the_first_mark_was_whole_leaves_the_folder_ours(tmp_path: Path) -> None:
    torn = temporary_for(tmp_path / "out" / stage.MARK)
    torn.parent.mkdir()
    torn.write_text('{"stage": "pre')
    assert made(tmp_path / "out").line == "2 rows"
    assert not torn.exists()


def test_a_second_process_does_not_write_into_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(ResumeRefused, match="another run is writing"):
        once(tmp_path / "out", "prepare", {"a": 1}, never)
    made(tmp_path / "out")
    with FileLock(tmp_path / "out" / ".lock"):  # what is done needs no lock: it may lie where nobody can write
        assert once(tmp_path / "out", "prepare", {"a": 1}, never).line == "2 rows"


def test_the_lock_is_held_for_the_whole_of_the_work(tmp_path: Path) -> None:
    def work() -> Outcome:
        with pytest.raises(TimeoutError):
            FileLock(tmp_path / ".lock").acquire(timeout=0)
        return Outcome("")

    once(tmp_path, "prepare", {"a": 1}, work)
    with FileLock(tmp_path / ".lock", timeout=0):
        pass


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ResumeRefused, match="is no prepare of ours"):
        once(tmp_path, "prepare", {"a": 1}, never)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def flip(path: Path, position: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "empty": lambda path: path.write_bytes(b""),
    "foreign": lambda path: path.write_text("plum!"),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["rows.txt", "deep/er.txt"])
def test_a_file_that_is_not_as_it_was_written_is_named(tmp_path: Path, name: str, damage: str) -> None:
    made(tmp_path)
    DAMAGES[damage](tmp_path / name)
    words = "was written and is not there" if damage == "gone" else "is not the file that was written"
    with pytest.raises(ResumeRefused, match=f"{name} {words}; remove the folder and run again"):
        once(tmp_path, "prepare", {"a": 1}, never)
    with pytest.raises(ResumeRefused, match=name):  # more work of the same recipe builds on it
        once(tmp_path, "prepare", {"a": 1}, never, size={"limit": 3})
    with pytest.raises(InputError, match=f"{name} {words}"):
        check(tmp_path)


@pytest.mark.parametrize("damage", ["torn", "empty", "foreign"])
def test_a_mark_that_is_not_as_it_was_written_is_named(tmp_path: Path, damage: str) -> None:
    made(tmp_path)
    DAMAGES[damage](tmp_path / "stage.json")
    with pytest.raises(ResumeRefused, match=r"stage\.json is not .*; remove the folder and run again"):
        once(tmp_path, "prepare", {"a": 1}, never)
    for read in (check, read_mark):
        with pytest.raises(InputError, match=r"stage\.json is not"):
            read(tmp_path)


def test_no_flipped_bit_of_a_mark_passes(tmp_path: Path) -> None:
    made(tmp_path)
    whole = (tmp_path / "stage.json").read_bytes()
    read = json.loads(whole)
    for position in range(len(whole)):
        for bit in (position % 8, 2):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            (tmp_path / "stage.json").write_bytes(bytes(flipped))
            try:
                found = read_mark(tmp_path)
            except InputError:
                continue
            assert found == read  # a space between two keys that became another kind of space


def test_a_stage_that_is_unfinished_is_no_input(tmp_path: Path) -> None:
    write_json(tmp_path / "stage.json", {"stage": "x", "state": "running", "fingerprint": "", "recipe": {}, "size": {}})
    with pytest.raises(InputError, match="holds an unfinished x; run its command again"):
        check(tmp_path)
    write_json(tmp_path / "stage.json", {"stage": "x", "state": "runing", "fingerprint": "", "recipe": {}, "size": {}})
    with pytest.raises(InputError, match="no state that we know, 'runing'"):
        check(tmp_path)


def test_files_without_a_mark_or_not_on_it_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "theirs.txt").write_text("plum")
    check(tmp_path)
    assert checked(tmp_path / "theirs.txt") == sha256_file(tmp_path / "theirs.txt")
    made(tmp_path / "ours")
    (tmp_path / "ours" / "recs.txt").write_text("lists of mine")
    assert checked(tmp_path / "ours" / "recs.txt") == sha256_file(tmp_path / "ours" / "recs.txt")
    with pytest.raises(InputError, match=r"nowhere\.txt is not there"):
        checked(tmp_path / "ours" / "nowhere.txt")


def test_each_file_is_read_once_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path)
    opened: list[str] = []

    def counted(path: Path, *rest: Any) -> Any:
        opened.append(Path(path).name)
        return open(path, *rest)

    monkeypatch.setattr("llm_aug.files.open", counted, raising=False)
    for _ in range(3):
        check(tmp_path)
        checked(tmp_path / "rows.txt")
    assert opened == []  # writing the mark has read them
    write_text(tmp_path / "rows.txt", "other")
    opened.clear()
    with pytest.raises(InputError):
        check(tmp_path)
    assert opened.count("rows.txt") == 1


@pytest.mark.parametrize("state", ["running", "done"])
def test_a_disk_that_takes_no_mark_leaves_no_done_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    def full(path: Path, value: Any) -> None:
        if value["state"] == state:
            raise Resumable(f"cannot write {path}: No space left on device")
        write_json(path, value)

    with monkeypatch.context() as patched:
        patched.setattr(stage, "write_json", full)
        with pytest.raises(Resumable, match="No space left"):
            made(tmp_path / "out")
    assert (read_mark(tmp_path / "out") or {"state": "none"})["state"] != "done"
    assert (tmp_path / "out").exists() == (state == "done")
    assert made(tmp_path / "out").counts == {"rows": 2}
