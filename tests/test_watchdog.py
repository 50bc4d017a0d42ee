"""What sleeps is interrupted, what hangs outside Python is ended, and what was answered is there to go on from."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from planted import GenreJudge
from test_finetune import EXAMPLES, HELD, options
from test_generate import OPTIONS, Counting, run
from test_simulate import run as simulate_in

from llm_aug import finetune_loop
from llm_aug.backends import Scores
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.errors import InputError, Resumable
from llm_aug.files import read_json
from llm_aug.finetune import finetune
from llm_aug.run import status
from llm_aug.signals import deferred_interrupts
from llm_aug.watchdog import Watchdog


def told() -> str:
    return "3/5 done"


def test_work_that_gets_on_is_left_alone() -> None:
    with Watchdog("rewrite", told, stall_seconds=0.6) as watchdog:
        for _ in range(10):
            time.sleep(0.1)
            watchdog.beat()
    time.sleep(0.8)  # nor is what comes after it ended
    assert not watchdog.stalled


def test_what_sleeps_is_told_and_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    rescued: list[str] = []
    started = time.monotonic()
    with (
        pytest.raises(Resumable, match=r"rewrite hangs: nothing was heard for 0\.2 seconds, the last was 3/5 done"),
        Watchdog("rewrite", told, 0.2, lambda: rescued.append(threading.current_thread().name), grace=20),
    ):
        time.sleep(30)
    assert time.monotonic() - started < 5
    assert len(rescued) == 1
    assert rescued != ["MainThread"]
    said = capsys.readouterr().err
    assert "raise engine.stall_minutes where it is only slow" in said
    assert "time.sleep(30)" in said


def test_a_loop_that_puts_off_signals_ends_all_the_same() -> None:
    with (
        pytest.raises(Resumable, match="fine-tuning hangs"),
        deferred_interrupts() as caught,
        Watchdog("fine-tuning", told, 0.2, grace=1),
    ):
        time.sleep(30)
    assert caught == [signal.SIGINT]


def test_a_rescue_that_fails_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def rescue() -> None:
        raise Resumable("cannot write a.parquet: No space left")

    with pytest.raises(Resumable, match="rewrite hangs"), Watchdog("rewrite", told, 0.1, rescue, grace=20):
        time.sleep(30)
    assert "what was answered could not be written: cannot write a.parquet: No space left" in capsys.readouterr().err


def test_a_rescue_that_hangs_keeps_nobody() -> None:
    done = threading.Event()
    with pytest.raises(Resumable, match="rewrite hangs"), Watchdog("rewrite", told, 0.1, done.wait, grace=0.4):
        time.sleep(30)
    done.set()


def test_none_waits_for_ever() -> None:
    before = threading.active_count()
    with Watchdog("rewrite", told, None):
        assert threading.active_count() == before


def test_in_another_thread_it_watches_nothing() -> None:
    """It could only end somebody else's work."""

    def work() -> None:
        with Watchdog("rewrite", told, 0.1, grace=0.1):
            time.sleep(0.5)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_other_errors_pass_through() -> None:
    with pytest.raises(InputError, match="mine"), Watchdog("rewrite", told, 0.5):
        raise InputError("mine")
    with pytest.raises(KeyboardInterrupt), Watchdog("rewrite", told, 0.5):
        signal.raise_signal(signal.SIGINT)


class Sleeping(Counting):
    """Hangs after its fifth answer."""

    def complete(self, prompts: list[Prompt], sampling: Sampling, seeds: list[int]) -> Iterator[tuple[int, Completion]]:
        for answered in super().complete(prompts, sampling, seeds):
            if len(self.asked) == 6:
                time.sleep(60)
            yield answered


def test_a_model_that_sleeps_ends_the_generation_and_costs_no_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patience = replace(OPTIONS, shard_rows=1000, stall_seconds=1.0)
    with pytest.raises(Resumable, match=r"rewrite/describe hangs: .*the last was 5/12 done; run the same command"):
        run(tmp_path, Sleeping(), patience)
    assert "time.sleep(60)" in capsys.readouterr().err
    rest = Counting()
    assert run(tmp_path, rest, patience).reused == 5
    assert len(rest.asked) == 7


def test_a_judge_that_hangs_costs_no_score(tmp_path: Path) -> None:
    class Hanging(GenreJudge):
        def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
            if self.calls == 2:
                time.sleep(60)
            return super().score(prompts, continuations)

    with pytest.raises(Resumable, match=r"judge: pseudo hangs: .*the last was 128/"):
        simulate_in(tmp_path, llm=Hanging(), stall_seconds=1.5)
    assert read_json(tmp_path / "progress.json")["done"] == 128
    assert simulate_in(tmp_path).reused == 128


def test_a_training_step_that_hangs_goes_on_from_the_last_checkpoint(
    model_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_step = finetune_loop.take_step

    def hang_at_four(*given: Any) -> Any:
        if given[-1] == 4:
            time.sleep(60)
        return take_step(*given)

    recipe = options(model_folder("llama"), save_steps=3)
    with monkeypatch.context() as patched:
        patched.setattr(finetune_loop, "take_step", hang_at_four)
        patched.setattr(finetune_loop, "Watchdog", lambda stage, told, _: Watchdog(stage, told, 1.0, grace=2))
        with pytest.raises(Resumable, match=r"fine-tuning hangs: .*the last was 4/8 done"):
            finetune(EXAMPLES, HELD, recipe, tmp_path / "adapter")
    (row,) = status(tmp_path / "adapter")
    assert (row["stage"], row["state"]) == ("fine-tuning", "stopped")
    assert finetune(EXAMPLES, HELD, recipe, tmp_path / "adapter").resumed_from == 3


HANGING = """
import ctypes, signal, sys, time
from functools import partial
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
from test_generate import Counting, OPTIONS, replace, run
from llm_aug import answers
from llm_aug.exits import exit_codes

answers.Watchdog = partial(answers.Watchdog, grace=0.5)

class Hanging(Counting):
    def complete(self, prompts, sampling, seeds):
        for answered in super().complete(prompts, sampling, seeds):
            if len(self.asked) == 6:
                {hang}
            yield answered

with exit_codes():
    run(Path(sys.argv[1]), Hanging(), replace(OPTIONS, shard_rows=1000, stall_seconds=0.3))
"""
HANGS = {
    "sleeps": "time.sleep(60)",
    "takes no signal": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]); time.sleep(60)",
    "waits for a lock in C": "lock = ctypes.create_string_buffer(64); mutex = ctypes.CDLL(None).pthread_mutex_lock; "
    "mutex(lock); mutex(lock)",
}


@pytest.mark.parametrize("how", HANGS)
def test_the_process_ends_with_75_and_its_answers_are_on_disk(tmp_path: Path, how: str) -> None:
    here = Path(__file__).resolve().parent
    code = HANGING.format(tests=str(here), root=str(here.parent), hang=HANGS[how])
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 75, ended.stderr
    assert time.monotonic() - started < 30
    assert "rewrite/describe hangs: nothing was heard for 0.3 seconds, the last was 5/12 done" in ended.stderr
    assert "The main thread is at\n" in ended.stderr
    assert ("error: rewrite/describe hangs" in ended.stderr) == (how == "sleeps")
    assert "Traceback" not in ended.stderr
    rest = Counting()
    assert run(tmp_path, rest).reused == 5
    assert len(rest.asked) == 7
