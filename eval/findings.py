"""What comparisons say, in the order in which a reader asks: six sentences, a table, and what failed or is doubtful."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from eval.arms import AGAIN, REAL
from eval.compare import HEADLINE, Comparison, K, by_llm, compare
from eval.findings_table import WARM_LOSS, Row, table, wrapped

Marks = Mapping[tuple[str, str], float]
FUSION = "fusion"
YARDSTICKS = {  # what the LLM has to beat: of those that are there, the first
    "funnel": "the funnel without an LLM",
    "similar-items": "as many of the most similar items",
    "random": "as many pairs of random users",
    "random-items": "as many random items",
}
BEST_SINGLE = "Best single model on merged data"
SENSELESS = ("random", "shuffled", "random-items")


def sensible(arm: str) -> bool:
    return arm not in SENSELESS


def best(
    metrics: Sequence[dict[str, Any]],
    real: bool,
    fusion: bool,
    validation: Marks | None = None,
    wanted: Callable[[str], bool] = sensible,
) -> tuple[str, str] | None:
    """The (student, arm) that validation likes most, among real-only or merged, with or without fusion.

    Without validation it is the highest overall NDCG@20 on test, which flatters whoever has more arms to pick from.
    wanted: which arms take part; pairs without sense never carry the headline.
    """
    test = {
        (row["student"], row["arm"]): row["mean"]
        for row in metrics
        if (row["group"], row["metric"], row["k"]) == ("overall", HEADLINE, K)
    }
    marks = validation or test
    keys = [
        (student, arm)
        for student, arm in test
        if (arm == REAL) is real and arm != AGAIN and (student == FUSION) is fusion and wanted(arm)
    ]
    return max(keys, key=marks.__getitem__, default=None)


@dataclass(frozen=True)
class Findings:
    """summary: at most six sentences. doubts: what failed, or makes the summary weaker than it sounds."""

    summary: tuple[str, ...]
    rows: tuple[Row, ...]
    doubts: tuple[str, ...]

    def text(self) -> str:
        """Plain text of at most WIDTH columns, but for the table where it has no room; `headline` reads it back."""
        blocks = ["\n".join(wrapped(sentence) for sentence in self.summary), *table(self.rows)]
        if self.doubts:
            blocks.append("\n".join(["Failed or doubtful:", *(wrapped(f"- {words}") for words in self.doubts)]))
        return "\n\n".join(blocks) + "\n"


def headline(text: str) -> list[str]:
    """The summary's sentences of a verdict.txt."""
    return text.split("\n\n", 1)[0].replace("\n  ", " ").splitlines()


def find(
    scores: pd.DataFrame,
    metrics: Sequence[dict[str, Any]],
    comparisons: Sequence[Comparison],
    validation: Marks | None = None,
    cold: str = "items",
) -> Findings:
    """Good and bad news alike. The models of the summary are picked as `best` does.

    cold: what the split leaves cold, 'items' or 'users'.
    """
    told = _Told(scores, metrics, comparisons, validation, cold)
    summary = (*told.faults(), *told.models(), *told.llm(), *told.warm(), *told.again())
    return Findings(summary, tuple(told.rows()), tuple(told.doubts()))


def points(one: Comparison) -> str:
    relative = "from zero" if np.isnan(one.relative) else f"{one.relative:+.1%}"
    doubt = ", which other arms of the same question make doubtful" if _only_uncorrected(one) else ""
    return f"{relative} ({one.gain:+.4f}, 95 % interval {one.low:+.4f} to {one.high:+.4f}{doubt})"


def _only_uncorrected(one: Comparison) -> bool:
    return (one.low > 0 or one.high < 0) and one.word == "no gain"


@dataclass(frozen=True)
class _Told:
    scores: pd.DataFrame
    metrics: Sequence[dict[str, Any]]
    comparisons: Sequence[Comparison]
    validation: Marks | None
    cold: str

    def top(self, real: bool, fusion: bool, wanted: Callable[[str], bool] = sensible) -> tuple[str, str] | None:
        return best(self.metrics, real, fusion, self.validation, wanted)

    def with_real(self, group: str) -> dict[tuple[str, str], Comparison]:
        chosen = (one for one in self.comparisons if (one.group, one.against) == (group, REAL))
        return {(one.student, one.arm): one for one in chosen if one.arm != AGAIN}

    @cached_property
    def duels(self) -> list[Comparison]:
        return [one for one in self.comparisons if one.against != REAL and one.group == "overall"]

    @cached_property
    def controls(self) -> list[Comparison]:
        return [one for one in self.comparisons if (one.arm, one.group) == (AGAIN, "overall")]

    def faults(self) -> Iterator[str]:
        noise = " or the noise of a single seed (evaluate with --seeds 5)" if self.one_seed else ""
        for one in self.controls:
            if one.word != "no gain":
                fault = f"WHICH IS A FAULT of the experiment{noise}: trust nothing here"
                yield f"A/A, {one.student}: {one.word}, {fault}. {points(one)}."
                return  # the doubts name the others

    @property
    def one_seed(self) -> bool:
        return bool(self.scores["seed"].nunique() == 1)

    def models(self) -> Iterator[str]:
        merged, single = self.top(real=False, fusion=False), self.top(real=True, fusion=False)
        bar = self.top(real=True, fusion=True)
        if not merged:
            yield "Nothing was compared: there are no scores of merged data."
            return
        if single:
            one = compare(self.scores, merged, single, "overall")
            yield (
                f"{BEST_SINGLE}, {merged[0]} ({merged[1]}), against the best on real data alone, "
                f"{single[0]}: {one.word}. {points(one)}.{self.not_the_llms(merged[1])}"
            )
        if bar:
            one = compare(self.scores, merged, bar, "overall")
            word = {"gain": "beats", "harm": "loses to", "no gain": "does not beat"}[one.word]
            yield f"It {word} tuned late fusion of real-only models. {points(one)}."
            if fused := self.top(real=False, fusion=True):
                one = compare(self.scores, fused, bar, "overall")
                yield f"Fused likewise, merged data ({fused[1]}) against that fusion: {one.word}. {points(one)}."

    def not_the_llms(self, arm: str) -> str:
        other = not by_llm(arm) and any(by_llm(row["arm"]) for row in self.metrics)
        return " Those data are not the LLM's." if other else ""

    def llm(self) -> Iterator[str]:
        """The LLM's best model over the same student on what has no LLM, and how all students stand there."""
        ours = self.top(real=False, fusion=False, wanted=by_llm) or self.top(real=False, fusion=True, wanted=by_llm)
        if not ours:
            return
        found = {one.against: one for one in self.duels if (one.student, one.arm) == ours}
        yardstick = next((name for name in YARDSTICKS if name in found), None)
        if not yardstick:
            yield "What the LLM adds is not known: there is no arm of as many pairs without it."
            return
        same = [one.word for one in self.duels if (one.arm, one.against) == (ours[1], yardstick)]
        count = f" Of {len(same)} students {same.count('gain')} gain and {same.count('harm')} lose."
        one = found[yardstick]
        yield (
            f"{one.arm} over {YARDSTICKS[yardstick]}, {one.student}: {one.word}. {points(one)}."
            f"{count if len(same) > 1 else ''}"
        )

    def warm(self) -> Iterator[str]:
        found = self.with_real("warm")
        merged = self.top(real=False, fusion=False)
        own = f"{merged[0]} on {merged[1]} data {points(found[merged])}; " if merged in found and merged else ""
        if found:
            lost = len(self.fallen())
            yield f"Warm {self.cold}: {own}{lost} of {len(found)} models {'loses' if lost == 1 else 'lose'} over 2 %."

    def fallen(self) -> list[Comparison]:
        return [one for one in self.with_real("warm").values() if one.relative < -WARM_LOSS]

    def again(self) -> Iterator[str]:
        if self.controls and all(one.word == "no gain" for one in self.controls):
            yield f"A/A, {_and(one.student for one in self.controls)}: no gain, as it must."

    def rows(self) -> Iterator[Row]:
        overall, cold, warm = (self.with_real(group) for group in ("overall", "cold", "warm"))
        for row in self.metrics:
            if (row["group"], row["metric"], row["k"]) == ("overall", HEADLINE, K) and row["arm"] != AGAIN:
                key = row["student"], row["arm"]
                yield Row(*key, row["mean"], overall.get(key), cold.get(key), warm.get(key))

    def doubts(self) -> Iterator[str]:
        if not self.validation:
            yield "Without validation, the best models are picked on test, which flatters them."
        if not self.top(real=True, fusion=True) and self.top(real=False, fusion=False):
            yield "No student is late fusion of real-only models, so the bar is lower than it could be."
        if self.one_seed:
            yield "One seed: the intervals cover the choice of users, not of the split."
        wrong = [one for one in self.controls if one.word != "no gain"]
        if len(wrong) > 1:
            yield f"A/A is no control for {_and(f'{one.student} ({one.relative:+.1%})' for one in wrong)}."
        chosen = self.top(real=False, fusion=False)
        ours = [one for one in self.fallen() if by_llm(one.arm) or (one.student, one.arm) == chosen]
        yield from _by_arm(f"Warm {self.cold} lose on", ours)
        own = [one for group in ("overall", "cold") for one in self.with_real(group).values()]
        yield from _by_arm("Harm over real data:", [o for o in own if o.word == "harm" and by_llm(o.arm)])
        for arm, against in dict.fromkeys((one.arm, one.against) for one in self.duels):
            lost = [o for o in self.duels if (o.arm, o.against, o.word) == (arm, against, "harm")]
            yield from _by_arm("", lost, f"loses to {against}")
        senseless = [one for one in self.with_real("overall").values() if one.arm in SENSELESS and one.word == "gain"]
        yield from _by_arm("Pairs without sense gain, too, so look at what the LLM adds to them:", senseless)
        unsure = [one for one in own if _only_uncorrected(one)]
        yield from _by_arm("Interval without zero, yet not beyond chance among so many arms:", unsure)


def _by_arm(before: str, found: Iterable[Comparison], after: str = "data") -> Iterator[str]:
    """A line per arm: before, the arm, after, and the students with their changes."""
    arms: dict[str, list[str]] = {}
    for one in found:
        change = "from zero" if np.isnan(one.relative) else f"{one.relative:+.1%}"
        group = f" {one.group}" if one.group == "cold" else ""
        arms.setdefault(one.arm, []).append(f"{one.student}{group} {change}")
    for arm, told in arms.items():
        yield f"{before} {arm} {after}: {', '.join(told)}.".strip()


def _and(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
