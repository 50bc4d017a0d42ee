"""Every way in which a generation may stop, and how it goes on: by the same rows, and without asking twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from test_generate import FRUITS, MANY, OPTIONS, TASK, TIMEOUT, Counting, catalogue, run, texts

from llm_aug.answers import Answers, is_locked, locked
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.errors import Resumable, ResumeRefused
from llm_aug.files import read_json, read_parquet
from llm_aug.generate import GenerateOptions, generate
from llm_aug.signals import Interrupted


def test_the_same_recipe_again_calls_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, Counting())
    before = (tmp_path / "samples.parquet").read_bytes()
    again = Counting()
    result = run(tmp_path, again, replace(OPTIONS, chunk=5, shard_rows=1, stall_seconds=None))
    assert (again.asked, result.reused) == ([], 12)
    assert (tmp_path / "samples.parquet").read_bytes() == before
    assert "12/12 done, 0 to do" in capsys.readouterr().err


def test_a_larger_run_goes_on_from_a_smaller_one(tmp_path: Path) -> None:
    run(tmp_path, Counting(), task=replace(TASK, limit=2))
    more = Counting()
    result = run(tmp_path, more)
    assert (result.reused, len(more.asked), result.parsed) == (4, 8, 12)


def test_interrupted_it_keeps_what_was_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = replace(OPTIONS, shard_rows=1000)
    words = "stopped by SIGINT, rewrite/describe: 6/12 done; run the same command again to go on"
    with pytest.raises(Interrupted, match=words) as stopped:
        run(tmp_path / "cut", Counting(interrupt_after=6, backwards=True), options)
    assert stopped.value.exit_code == 130
    assert read_json(tmp_path / "cut/manifest.json")["state"] == "running"
    assert read_json(tmp_path / "cut/progress.json")["done"] == 6
    rest = Counting()
    assert run(tmp_path / "cut", rest, options).parsed == 12
    assert len(rest.asked) == 6
    assert "6/12 done, 6 to do" in capsys.readouterr().err
    assert not (tmp_path / "cut/progress.json").exists()
    run(tmp_path / "whole", Counting(), options)
    for name in ("samples.parquet", "rejects.parquet"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_answers_are_written_after_some_seconds_too(tmp_path: Path) -> None:
    class Looking(Counting):
        def complete(self, prompts, sampling, seeds):  # type: ignore[no-untyped-def]
            for row, said in super().complete(prompts, sampling, seeds):
                self.seen = len(list((tmp_path / "answers").glob("0*.parquet")))
                yield row, said

    llm = Looking()
    run(tmp_path, llm, replace(OPTIONS, shard_rows=1000, shard_seconds=0.0))
    assert llm.seen == 11


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
import test_generate as t

class Slow(t.Counting):
    def complete(self, prompts, sampling, seeds):
        for answered in super().complete(prompts, sampling, seeds):
            time.sleep(0.02)
            yield answered

t.run(Path(sys.argv[1]), Slow(), task=t.MANY)
"""


def test_killed_outright_it_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    here = Path(__file__).resolve().parent
    code = KILLED.format(tests=str(here), root=str(here.parent))
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
    answers = tmp_path / "killed" / "answers"
    deadline = time.monotonic() + 60
    while len(list(answers.glob("0*.parquet"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    there = sum(read_parquet(path).num_rows for path in answers.glob("0*.parquet"))
    rest = Counting()
    result = run(tmp_path / "killed", rest, task=MANY)
    assert 10 <= there < 240
    assert (result.reused, len(rest.asked)) == (there, 240 - there)
    run(tmp_path / "whole", Counting(), task=MANY)
    assert (tmp_path / "killed/samples.parquet").read_bytes() == (tmp_path / "whole/samples.parquet").read_bytes()


@pytest.mark.parametrize(
    ("name", "llm", "options"),
    [
        ("revision", Counting(revision="2"), OPTIONS),
        ("adapter", Counting(adapter="tuned"), OPTIONS),
        ("sampling", Counting(), replace(OPTIONS, sampling=Sampling(temperature=0.1))),
        ("seed", Counting(), replace(OPTIONS, seed=1)),
        ("split_hash", Counting(), replace(OPTIONS, split_hash="other")),
    ],
)
def test_another_recipe_is_refused_by_name(tmp_path: Path, name: str, llm: Counting, options: GenerateOptions) -> None:
    run(tmp_path, Counting())
    with pytest.raises(ResumeRefused, match=f"another recipe .*{name} was"):
        run(tmp_path, llm, options)
    assert llm.asked == []


def test_another_catalogue_is_refused(tmp_path: Path) -> None:
    run(tmp_path, Counting())
    with pytest.raises(ResumeRefused, match="input was"):
        generate(TASK, catalogue([*FRUITS[:-1], "date"]), Counting(), OPTIONS, tmp_path)


def test_a_shard_of_another_recipe_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "a", Counting())
    run(tmp_path / "b", Counting(), replace(OPTIONS, seed=1))
    (tmp_path / "b/answers/000000.parquet").replace(tmp_path / "a/answers/000099.parquet")
    with pytest.raises(ResumeRefused, match=r"000099.parquet belongs to another recipe"):
        run(tmp_path / "a", Counting())


def test_answers_without_a_manifest_are_refused(tmp_path: Path) -> None:
    run(tmp_path, Counting())
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(ResumeRefused, match=r"no manifest.json"):
        run(tmp_path, Counting())


def test_a_second_run_in_the_same_folder_stops(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(ResumeRefused, match="another run is writing"):
        run(tmp_path, Counting())


@pytest.mark.parametrize("damage", ["flipped", "truncated", "emptied"])
def test_a_damaged_shard_is_named_and_asked_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, Counting())
    before = texts(tmp_path)
    shard = tmp_path / "answers" / "000002.parquet"
    content = bytearray(shard.read_bytes())
    column = pq.ParquetFile(shard).metadata.row_group(0).column(2)
    content[(column.dictionary_page_offset + column.data_page_offset) // 2] ^= 1  # amid the texts
    shard.write_bytes({"flipped": bytes(content), "truncated": bytes(content[:-50]), "emptied": b""}[damage])
    again = Counting()
    assert run(tmp_path, again).reused == 10
    assert len(again.asked) == 2
    assert texts(tmp_path) == before
    assert (tmp_path / "answers" / "000002.parquet.bad").exists()
    assert "000002.parquet.bad, its rows are asked again" in capsys.readouterr().err
    once_more = Counting()
    run(tmp_path, once_more)
    assert once_more.asked == []


def test_no_flipped_bit_in_a_shard_is_ever_read_as_data(tmp_path: Path) -> None:
    written = Answers(tmp_path, "mark")
    written.add("k", Prompt("", "?"), Completion("An apple.", "stop", 3))
    written.write()
    shard = tmp_path / "000000.parquet"
    content = shard.read_bytes()
    for position in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        shard.write_bytes(bytes(flipped))
        read = Answers(tmp_path, "mark")
        read.read()
        assert read.get("k", Prompt("", "?")) in (None, Completion("An apple.", "stop", 3))


def test_a_full_disk_ends_with_75_and_costs_what_was_not_yet_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Answers.write

    def full(answers: Answers) -> None:
        if answers._next_shard == 2:
            raise Resumable("cannot write: No space left on device")
        written(answers)

    with monkeypatch.context() as patched:
        patched.setattr(Answers, "write", full)
        with pytest.raises(Resumable, match="No space left"):
            run(tmp_path, Counting())
    rest = Counting()
    assert run(tmp_path, rest).reused == 4
    assert len(rest.asked) == 8


def test_a_stage_may_hold_the_lock_around_its_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with locked(tmp_path / "out"):
        run(Path("out"), Counting())
        assert is_locked(tmp_path / "out")
        with pytest.raises(ResumeRefused, match="another run is writing"), FileLock(tmp_path / "elsewhere" / ".lock"):
            run(tmp_path / "elsewhere", Counting())
    assert not is_locked(tmp_path / "out")
    assert not is_locked(tmp_path / "nowhere")


def test_a_look_at_the_lock_does_not_refuse_a_run(tmp_path: Path) -> None:
    """`status` holds it for a moment."""
    (tmp_path / "out").mkdir()
    lock = FileLock(tmp_path / "out" / ".lock", thread_local=False)
    lock.acquire()
    threading.Timer(0.05, lock.release).start()
    run(tmp_path / "out", Counting())
    assert texts(tmp_path / "out")


def test_a_failure_of_an_earlier_run_is_asked_again_even_when_interrupted(tmp_path: Path) -> None:
    run(tmp_path, Counting(script={"fig": TIMEOUT}))
    with pytest.raises(Interrupted, match="11/12 done"):
        run(tmp_path, Counting(interrupt_after=1))
    rest = Counting()
    assert run(tmp_path, rest).failed == 0
    assert rest.asked == ["fig"]
