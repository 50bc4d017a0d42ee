"""The samples that a threshold only just kept or dropped: those that a person should look at before he moves it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llm_aug.data import Verdict
from llm_aug.filters.reference import Threshold

SHOWN = 10  # on either side of a threshold
HELD = 1000  # more than are shown, before the nearest of them are picked

# By step and reason ('' where kept) the thresholds that a verdict's score may stand beside; of several the nearest one.
# A reason that is not here was no matter of degree.
DECIDES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "pairs": {
        "": ("floor",),
        "below_floor": ("floor",),
        "odd_length": ("min_length", "max_length"),
        "odd_popularity": ("min_popularity", "max_popularity"),
        "odd_mix": ("mix",),
    },
    "quality": {
        "": ("repetition",),
        "repetition": ("repetition",),
        "too_short": ("min_words",),
        "too_long": ("max_words",),
    },
    "privacy": {"": ("ngram",), "copied_ngram": ("ngram",)},
    "language": {"": ("distance",), "other_language": ("distance",)},
    "lexical": {"": ("overlap",), "lexical_duplicate": ("overlap",)},
    "near_duplicate": {"": ("similarity",), "near_duplicate": ("similarity",)},
    "fidelity": {"": ("margin",), "unfaithful": ("margin",), "copy": ("copy",)},
    "repeat": {"": ("similarity", "same_subject"), "near_repeat": ("similarity", "same_subject")},
}


@dataclass(frozen=True)
class Near:
    """score and limit: in the unit of the threshold, both sides of which are told apart by `keep`."""

    sample_id: str
    keep: bool
    threshold: str
    score: float
    limit: float


def beside(
    step: str,
    sample_ids: Sequence[str],
    said: Sequence[Verdict | None],
    thresholds: Mapping[str, Threshold],
    count: int = SHOWN,
) -> list[Near]:
    """For each threshold `count` kept and `count` dropped samples, the nearest first; of equals the first by id."""
    rows: dict[tuple[str, bool], list[Near]] = {(name, keep): [] for name in thresholds for keep in (True, False)}
    for sample_id, verdict in zip(sample_ids, said, strict=True):
        if verdict is None or verdict.score is None or not math.isfinite(verdict.score):
            continue
        score = verdict.score
        names = [name for name in DECIDES.get(step, {}).get(verdict.reason, ()) if name in thresholds]
        if names:
            name = min(names, key=lambda one: abs(thresholds[one].value - score))
            group = rows[name, verdict.keep]
            group.append(Near(sample_id, verdict.keep, name, score, thresholds[name].value))
            if len(group) == HELD + count:
                group[:] = _nearest(group, count)
    return [near for group in rows.values() for near in _nearest(group, count)]


def _nearest(group: Iterable[Near], count: int) -> list[Near]:
    return sorted(group, key=lambda one: (abs(one.score - one.limit), one.sample_id))[:count]


def line(threshold: str, rows: Iterable[Near]) -> str:
    """'; nearest: kept 0.912 (a/1), dropped 0.931 (a/7)', or nothing where no score came near this threshold."""
    sides = [
        f"{'kept' if near.keep else 'dropped'} {near.score:.4g} ({near.sample_id})"
        for near in rows
        if near.threshold == threshold
    ]
    return f"; nearest: {', '.join(sides)}" if sides else ""
