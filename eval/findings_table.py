"""The verdict's table and its line breaks: plain text for a terminal of WIDTH columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eval.compare import Comparison

WIDTH = 120
LONGEST_NAME = 24
WARM_LOSS = 0.02  # a relative fall of warm NDCG that the verdict mentions


@dataclass(frozen=True)
class Row:
    """A line of the verdict's table. mean: overall NDCG@20; the comparisons are with real data, None where unknown."""

    student: str
    arm: str
    mean: float
    overall: Comparison | None
    cold: Comparison | None
    warm: Comparison | None


def wrapped(sentence: str) -> str:
    """No line begins with a per cent sign."""
    held = sentence.replace(" %", "\N{NO-BREAK SPACE}%")
    filled = textwrap.fill(held, WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
    return filled.replace("\N{NO-BREAK SPACE}%", " %")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Students and arms against real data: share of the overall NDCG@20, its interval, and the two groups' changes."""
    if not any(row.overall for row in rows):
        return
    lines: list[tuple[str, ...]] = [("student", "arm", "NDCG@20", "gain", "95 % interval", "", "cold", "warm")]
    for place, row in enumerate(rows):
        student = "" if place and rows[place - 1].student == row.student else _short(row.student)
        lines.append((student, _short(row.arm), f"{row.mean:.4f}", *_cells(row)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    ranged = [
        "  ".join(
            cell.rjust(width) if place in (2, 3, 4, 6, 7) else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    yield "\n".join(ranged)
    yield "Gain: overall NDCG@20 over the same student on real data. * cold: beyond chance. ! warm: more than 2 % lost."


def _cells(row: Row) -> tuple[str, ...]:
    one = row.overall
    if not one:
        return ("", "", "", "", "")
    real = one.gain / one.relative if one.relative else row.mean - one.gain
    interval = f"{one.low / real:+.1%} to {one.high / real:+.1%}" if real > 0 else "from zero"
    cold = _change(row.cold) + ("*" if row.cold and row.cold.word != "no gain" else " ")
    warm = _change(row.warm) + ("!" if row.warm and row.warm.relative < -WARM_LOSS else " ")
    return _change(one), interval, one.word, cold, warm


def _change(one: Comparison | None) -> str:
    return "-" if one is None or np.isnan(one.relative) else f"{one.relative:+.1%}"
