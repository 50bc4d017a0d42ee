"""A run in vain is stopped early, and a good one is not, whatever comes first."""

from __future__ import annotations

import pytest

from llm_aug.breaker import Breaker, listed


def first_stop(faults: list[str], calls: int) -> tuple[int, str]:
    """After how many answers, and what is said; (0, '') where nothing stops it."""
    breaker = Breaker(window=10, share=0.9, calls=calls)
    for number, fault in enumerate(faults, start=1):
        if said := breaker.add(fault):
            return number, said
    return 0, ""


def test_the_first_window_tells() -> None:
    assert first_stop(["empty"] * 50, calls=4096) == (10, "10 of the last 10 answers were bad (empty: 10)")
    assert first_stop(["", *["echo"] * 9], calls=10)[0] == 10
    assert first_stop(["", "", *["echo"] * 8], calls=10) == (0, "")


def test_a_cluster_in_a_large_call_does_not() -> None:
    """40 of 400 prompts are too long and come first; an eighth of the call is 50."""
    good, long = [""] * 10, ["too long"] * 40
    assert first_stop([*good, *long, *[""] * 350], calls=400) == (0, "")
    assert first_stop([*good, *long, *[""] * 30], calls=80)[0] == 19  # for a small call they are nearly all


def test_an_engine_that_goes_down_is_noticed() -> None:
    number, said = first_stop([*[""] * 200, *["refused"] * 100], calls=400)
    assert number == 245
    assert said == "45 of the last 50 answers were bad (refused: 45)"


def test_what_has_left_the_window_counts_no_more() -> None:
    assert first_stop([*["bad"] * 8, "", "", *[""] * 100, *["bad"] * 8, *[""] * 9] * 5, calls=10) == (0, "")


@pytest.mark.parametrize(
    ("reasons", "words"),
    [({}, ""), ({"a": 1, "b": 3}, "b: 3, a: 1"), (dict.fromkeys("abcdefg", 1), "a: 1, b: 1, c: 1, d: 1, e: 1")],
)
def test_reasons_are_listed_by_number(reasons: dict[str, int], words: str) -> None:
    assert listed(reasons) == words
