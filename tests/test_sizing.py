"""Hours and cost by hand."""

from __future__ import annotations

import pytest

from eval.bench.sizing import MINI_PARAMETERS, MINI_READ, Speed, Work, generation, hours, parsed, scaled, scoring, table
from llm_aug.errors import InputError


def test_tokens_are_counted_by_row_and_a_history_once_per_user() -> None:
    work = generation(items=10, copies=3, prompt=200, answer=50)
    assert (work.read, work.written) == (6000, 1500)
    assert scoring(pairs=100, item=30, history=200, pairs_of_user=20) == Work("100 scored pairs", 100 * (30 + 10))


def test_hours_fall_with_devices_and_reading_and_writing_add_up() -> None:
    work, speed = Work("", read=3600 * 1000, written=3600 * 50), Speed("", read=1000, write=100)
    assert hours(work, speed, 1) == pytest.approx(1.5)
    assert hours(work, speed, 3) == pytest.approx(0.5)


def test_a_model_twice_as_large_is_half_as_fast_and_said_to_be_extrapolated() -> None:
    assert scaled(2 * MINI_PARAMETERS / 1e9).read == pytest.approx(MINI_READ / 2)
    page = table([Work("w", 7200.0)], [scaled(1.0), Speed("GPU", 1.0, 1.0)], [2], price=3.0)
    assert "extrapolated by FLOPs" in page.splitlines()[2]
    assert page.splitlines()[3] == "| w | GPU | 1.0, 1.0 | measured | 2 | 1.0 | 6 |"


def test_a_measured_speed_has_two_figures() -> None:
    assert parsed("7B: H100:40000:6000") == Speed("7B: H100", 40000, 6000)
    for wrong in ("7B", "7B:1", "7B:0:1", "7B:fast:1", ":1:1"):
        with pytest.raises(InputError, match="NAME:READ:WRITE"):
            parsed(wrong)
