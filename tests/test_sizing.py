"""Hours and cost by hand."""

from __future__ import annotations

import pytest

from eval.bench.sizing import (
    Speed,
    Work,
    generation,
    hours,
    of_mini,
    parsed,
    scaled,
    scoring,
    scoring_whole,
    table,
)
from llm_aug.errors import InputError

MINI = Speed("mini", 1000.0, 100.0)


def test_tokens_are_counted_by_row_and_a_history_once_per_user() -> None:
    work = generation(items=10, copies=3, prompt=200, answer=50)
    assert (work.read, work.written) == (6000, 1500)
    assert scoring(pairs=100, item=30, history=200, pairs_of_user=20) == Work("100 scored pairs", 100 * (30 + 10))
    assert scoring_whole(pairs=100, item=30, history=200).read == 100 * 2 * 230


def test_hours_fall_with_devices_and_reading_and_writing_add_up() -> None:
    work, speed = Work("", read=3600 * 1000, written=3600 * 50), Speed("", read=1000, write=100)
    assert hours(work, speed, 1) == pytest.approx(1.5)
    assert hours(work, speed, 3) == pytest.approx(0.5)


def test_a_model_twice_as_large_is_half_as_fast_and_said_to_be_extrapolated() -> None:
    assert scaled(2.0, MINI, 10**9).read == pytest.approx(500)
    page = table([Work("w", 7200.0)], [scaled(1.0, MINI, 10**6), Speed("GPU", 1.0, 1.0)], [2], price=3.0)
    assert "extrapolated by FLOPs" in page.splitlines()[2]
    assert page.splitlines()[3] == "| w | GPU | 1.0, 1.0 | measured | 2 | 1.0 | 6 |"


def test_a_measured_speed_has_two_figures() -> None:
    assert parsed("7B: H100:40000:6000") == Speed("7B: H100", 40000, 6000)
    for wrong in ("7B", "7B:1", "7B:0:1", "7B:fast:1", ":1:1"):
        with pytest.raises(InputError, match="NAME:READ:WRITE"):
            parsed(wrong)


def test_the_built_in_model_reads_faster_than_it_writes() -> None:
    speed, parameters = of_mini(requests=16)
    assert parameters > 10**6
    assert speed.read > speed.write > 0
