"""Each exception has its exit code and its sentence; only a bug shows a traceback."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from llm_aug.errors import InputError, LlmAugError, ResumeRefused, ShortOfTarget, Unavailable
from llm_aug.exits import DEBUG, Terminated, exit_codes


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
        (Terminated(), 143, "run the same command again"),
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
