"""Each exception has its exit code and its sentence; only a bug shows a traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from shop import write_script, write_source

from llm_aug import exits, pipeline
from llm_aug.config import recipe_of
from llm_aug.errors import InputError, LlmAugError, ResumeRefused, ShortOfTarget, Unavailable
from llm_aug.exits import DEBUG, exit_codes
from llm_aug.files import read_parquet
from llm_aug.run import status
from llm_aug.signals import Interrupted, deferred_interrupts, uninterrupted


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("no\ncolumn"), 2, "error: no column"),
        (ShortOfTarget("3 failed"), 3, "error: 3 failed"),
        (ResumeRefused("another recipe"), 4, "error: another recipe"),
        (Unavailable("no model"), 5, "error: no model"),
        (OSError(errno.ENOSPC, "No space left on device"), 75, "the disk is full"),
        (MemoryError(), 75, "memory ran out"),
        (KeyboardInterrupt(), 130, "run the same command again"),
        (Interrupted(signal.SIGINT), 130, "stopped by SIGINT; run the same command again to go on"),
        (Interrupted(signal.SIGTERM, "3/5 done"), 143, "stopped by SIGTERM, 3/5 done; run the same command again"),
    ],
)
def test_what_a_user_can_mend_is_one_sentence(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left, exit_codes():
        raise error
    told = capsys.readouterr()
    assert left.value.code == code
    assert words in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize("error", [KeyError("x"), LlmAugError("asks twice"), OSError(errno.EBADF, "bad")])
def test_a_bug_shows_where_it_is(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, exit_codes():
        raise error
    told = capsys.readouterr().err
    assert left.value.code == 1
    assert "Traceback" in told
    assert told.splitlines()[-1].startswith("error: this is a bug of llm-aug")


def test_a_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(DEBUG, "1")
    with pytest.raises(SystemExit), exit_codes():
        raise InputError("no column")
    assert "Traceback" in capsys.readouterr().err


def test_an_engine_out_of_memory_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    import torch  # noqa: F401  (its wordings are looked for only where it is loaded)

    with pytest.raises(SystemExit) as left, exit_codes():
        raise RuntimeError("CUDA error: out of memory")
    assert left.value.code == 75
    assert "Traceback" not in capsys.readouterr().err


def test_a_polite_kill_unwinds_what_is_running(capsys: pytest.CaptureFixture[str]) -> None:
    before, written = signal.getsignal(signal.SIGTERM), []

    @exit_codes()
    def command() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            written.append("what was at hand")

    with pytest.raises(SystemExit) as left:
        command()
    assert left.value.code == 143
    assert written
    assert signal.getsignal(signal.SIGTERM) is before


def kill(number: int = signal.SIGTERM) -> None:
    """Returns once the signal was taken, or raises what it raises."""
    os.kill(os.getpid(), number)
    for _ in range(1000):
        pass


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_cut_the_writing_short(second: int) -> None:
    written = []

    @exit_codes()
    def command() -> None:
        try:
            kill()
        finally:
            kill(second)
            written.append("all of it")

    with pytest.raises(SystemExit) as left:
        command()
    assert (left.value.code, written) == (143, ["all of it"])


def test_a_late_second_signal_ends_what_does_not_end_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exits, "PATIENCE", 0.0)
    written = []

    @exit_codes()
    def command() -> None:
        try:
            kill()
        finally:
            time.sleep(0.001)
            kill(signal.SIGINT)
            written.append("after hours")

    with pytest.raises(SystemExit) as left:
        command()
    assert (left.value.code, written) == (130, [])


def test_signals_wait_for_what_must_not_be_interrupted() -> None:
    before = signal.getsignal(signal.SIGINT)
    with uninterrupted() as caught:
        kill(signal.SIGINT)
        kill(signal.SIGTERM)
        kill(signal.SIGINT)
    assert caught == [signal.SIGINT, signal.SIGTERM, signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_step_waits_for_one_signal_but_not_for_two() -> None:
    with deferred_interrupts() as caught:
        kill(signal.SIGINT)
        assert caught == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            kill(signal.SIGINT)
    assert caught == [signal.SIGINT]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As SIGINT is in a script's background, behind `&`."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with exit_codes(), uninterrupted() as caught:
            kill(signal.SIGINT)
        assert caught == []
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_no_handler_is_set() -> None:
    seen = []

    def work() -> None:
        with exit_codes(), uninterrupted():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


# Through the installed program


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the shop: 30 items."""
    folder = tmp_path_factory.mktemp("shop")
    recipe = recipe_of(data={"source": str(write_source(folder / "source")), "columns": {"item_id": "asin"}})
    pipeline.prepare(recipe, folder / "data")
    pipeline.split(recipe, folder / "data", folder / "split")
    return folder / "split"


def answered(folder: Path) -> list[int]:
    """Rows of each shard, which are the calls of the model: each answer is written once."""
    return [read_parquet(path).num_rows for path in sorted((folder / "answers").glob("*.parquet"))]


@pytest.mark.parametrize(
    ("signals", "code"),
    [([signal.SIGINT], 130), ([signal.SIGTERM], 143), ([signal.SIGINT, signal.SIGTERM, signal.SIGTERM], 130)],
)
def test_a_stopped_generation_says_how_far_it_got_and_goes_on(
    split: Path, tmp_path: Path, signals: list[signal.Signals], code: int
) -> None:
    model, out = write_script(tmp_path / "script.json", delay=0.02), tmp_path / "samples"
    asked = ["--task", "rewrite", "--copies", "4", "--model", model, "--output", str(out)]
    program = [Path(sys.executable).with_name("llm-aug"), "generate", str(split), *asked]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert next(running.stderr) == "rewrite/describe: 0/120 done, 120 to do\n"
        time.sleep(0.5)
        (row,) = status(out)
        assert (row["state"], row["progress"]["total"]) == ("running", 120)
        for number in signals:
            running.send_signal(number)
            time.sleep(0.001)
        told = running.stderr.read()
    done = sum(answered(out))
    assert 0 < done < 120
    assert running.returncode == code
    name = signal.Signals(signals[0]).name
    sentence = f"stopped by {name}, rewrite/describe: {done}/120 done; run the same command again to go on"
    assert told == f"error: {sentence}\n"
    (row,) = status(out)
    assert (row["state"], row["line"]) == ("stopped", f"{done}/120; the same command goes on")
    again = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 0, again.stderr
    assert f"{done}/120 done, {120 - done} to do" in again.stderr
    assert sum(answered(out)) == 120
    assert read_parquet(out / "samples.parquet").num_rows == 120
