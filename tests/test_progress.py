"""What a person sees of a long stage, on a terminal and elsewhere, and what another shell reads."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from llm_aug import progress
from llm_aug.progress import FILE, Meter, line_of, read_progress, spelled


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    found = Clock()
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", found)
        patched.setattr(time, "time", lambda: found.now + 1_700_000_000)
        yield found


def test_speeds_are_those_of_the_last_minute(tmp_path: Path, clock: Clock) -> None:
    """1 answer of 4 tokens a second for five minutes, then 10 of 20 tokens for two."""
    with Meter("rewrite/describe", 3000, done=100, folder=tmp_path) as meter:
        for _ in range(300):
            clock.now += 1
            meter.advance(1, 4)
        state = meter.state()
        assert (state["done"], state["tokens_per_second"], state["seconds_left"]) == (400, 4.0, 2600)
        for _ in range(120):
            clock.now += 1
            meter.advance(10, 20)
        state = meter.state()
        assert (state["done"], state["tokens_per_second"], state["seconds_left"]) == (1600, 20.0, 140)


def test_a_time_limit_may_come_first(tmp_path: Path, clock: Clock) -> None:
    with Meter("fine-tuning", 1000, folder=tmp_path, most_seconds=90) as meter:
        clock.now += 10
        meter.advance(10)
        assert meter.state()["seconds_left"] == 80
        clock.now += 100
        assert meter.state()["seconds_left"] == 0


def test_the_file_is_written_now_and_then_and_goes_at_the_end(tmp_path: Path, clock: Clock) -> None:
    times = []
    with Meter("judge: cold", 100, folder=tmp_path) as meter:
        for _ in range(100):
            clock.now += 0.1
            meter.advance(1, 3, "" if meter.done % 10 else "truncated")
            found = read_progress(tmp_path)
            assert found is not None
            times.append(found["updated"])
        assert len(set(times)) == 6  # at once, then every two seconds
        assert found["stage"] == "judge: cold"
        assert (found["done"], found["reasons"]) == (100, {"truncated": 10})
        assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert list(tmp_path.iterdir()) == []


def test_a_stage_that_was_stopped_leaves_how_far_it_got(tmp_path: Path, clock: Clock) -> None:
    def stop_after(count: int) -> None:
        with Meter("x", 9, folder=tmp_path) as meter:
            meter.advance(count)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_after(7)
    found = read_progress(tmp_path)
    assert found is not None
    assert (found["done"], found["total"]) == (7, 9)


def test_elsewhere_a_line_every_ten_seconds(tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("rewrite/describe", 100, folder=tmp_path) as meter:
        for number in range(40):
            clock.now += 1
            meter.advance(1, 50, "echo" if number < 3 else "")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"rewrite/describe: {done}/100, 50 tokens/s, {left} left, echo: 3"
        for done, left in ((10, "2 min"), (20, "80 s"), (30, "70 s"), (40, "60 s"))
    ]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_and_what_others_say_above_it(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    for name, value in {"COLUMNS": "40", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    with Meter("rewrite/describe", 9, folder=tmp_path) as meter:
        for _ in range(9):
            clock.now += 1
            meter.advance(1, 50, "a reason that is longer than the line")
        progress.say("a shard is damaged")
    text = shown.getvalue()
    assert "rewrite/describe: 4/9, 50 tokens/s" in text
    assert "a shard is damaged\n" in text
    assert "longer than the line" not in text
    assert text.count("\n") <= 3
    assert text.rstrip().endswith("\x1b[2K")  # the line is gone at the end
    assert "\x1b[?25h" in text  # and the cursor is back


def test_without_a_folder_nothing_is_shown(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """As on the second process of a distributed run."""
    with Meter("fine-tuning", 100) as meter:
        for _ in range(40):
            clock.now += 1
            meter.advance()
    assert capsys.readouterr().err == ""
    assert meter.told() == "40/100 done"


def test_a_full_disk_is_no_reason_to_stop(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr(Path, "unlink", full)
    with Meter("x", 9, folder=tmp_path) as meter:
        clock.now += 5
        meter.advance()
    assert meter.done == 1
    assert read_progress(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"stage": "x", "done": 3',
        "[1]",
        '{"stage": "x", "done": 3, "total": 9, "updated": 1}',
        '{"stage": "x", "done": "3", "total": 9, "updated": 1, "reasons": {}}',
        '{"stage": "x", "done": 3, "total": 9, "updated": 1, "reasons": {}, "seconds_left": "soon"}',
    ],
)
def test_a_torn_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert read_progress(tmp_path) is None


def test_the_file_holds_no_more_reasons_than_a_person_reads(tmp_path: Path, clock: Clock) -> None:
    with Meter("x", 10_000, folder=tmp_path) as meter:
        for number in range(5000):
            meter.advance(0, 0, f"failed: request {number} was lost")
        clock.now += 3
        meter.advance(0, 0, "failed: request 0 was lost")
        found = json.loads((tmp_path / FILE).read_text())
    assert len(found["reasons"]) == 20
    assert next(iter(found["reasons"].items())) == ("failed: request 0 was lost", 2)


def test_a_line_says_what_is_known_and_no_more() -> None:
    state = {"done": 5, "total": 9, "reasons": {"a": 1, "b": 4, "c": 2, "d": 3}}
    assert line_of(state) == "5/9, b: 4, d: 3, c: 2"
    known = {**state, "reasons": {}, "note": "loss 1.234", "tokens_per_second": 12345.6, "seconds_left": 700}
    assert line_of(known) == "5/9, loss 1.234, 12,346 tokens/s, 12 min left"
    assert line_of({**known, "done": 9}) == "9/9, loss 1.234, 12,346 tokens/s"


@pytest.mark.parametrize(("seconds", "words"), [(5, "5 s"), (89, "89 s"), (600, "10 min"), (11_100, "3 h 5 min")])
def test_times_are_spelled_as_people_say_them(seconds: float, words: str) -> None:
    assert spelled(seconds) == words


def test_it_costs_nothing_that_could_be_measured(tmp_path: Path) -> None:
    """At 5,000 requests per second a request has 200 microseconds."""
    with Meter("x", 100_000, folder=tmp_path) as meter:
        started = time.process_time()
        for _ in range(100_000):
            meter.advance(1, 40, "echo")
        seconds = time.process_time() - started
    assert seconds / 100_000 < 5e-6
