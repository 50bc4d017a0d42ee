"""From per-user metrics to a verdict: means with intervals, paired differences to real data, and sentences.

metrics.json      rows {student, arm, group, metric, k, mean, low, high, users, seed_count}
comparisons.json  rows {student, arm, against_student, against, group, gain, low, high, relative, users, word}:
                  NDCG@20 of arm less against
verdict.txt       the sentences
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.arms import AGAIN, REAL
from eval.ranking import GROUPS
from eval.stats import Interval, bootstrap
from llm_aug.errors import InputError
from llm_aug.files import read_json, read_parquet, write_json, write_text

Marks = Mapping[tuple[str, str], float]
HEADLINE, K = "ndcg", 20
FUSION = "fusion"
LLM_PARTS = {"rewrite", "history", "review", "profile"}  # of an arm, as in history+rewrite; any llm... is one, too
CONTROLS = {  # told in the verdict
    "funnel": "the funnel without an LLM",
    "random": "as many pairs of random users",
    "random-items": "as many random items",
    "popular-items": "as many of the most popular items",
    "similar-items": "as many of the most similar items",
}
WARM_LOSS = 0.02  # a relative fall of warm NDCG that the verdict mentions


@dataclass(frozen=True)
class Comparison:
    """gain: mean paired difference of NDCG@20 with its interval; relative: over the mean of `against`, NaN if 0."""

    student: str
    arm: str
    against_student: str
    against: str
    group: str
    gain: float
    low: float
    high: float
    relative: float
    users: int

    @property
    def word(self) -> str:
        return "gain" if self.low > 0 else "harm" if self.high < 0 else "no gain"


def read_scores(folders: Sequence[Path]) -> pd.DataFrame:
    """The per-user rows of one or several evaluated splits.

    Raises InputError where two folders hold the same seeds: of the same split, or of two splits cut with one seed.
    """
    rows = [read_parquet(folder / "per_user.parquet").to_pandas() for folder in folders]
    scores = pd.concat(rows, ignore_index=True)
    if scores.duplicated(["student", "arm", "group", "seed", "user_id"]).any():
        names = ", ".join(str(folder) for folder in folders)
        raise InputError(f"{names}: some hold the same users under the same seed; evaluate splits of different seeds")
    return scores


def _grid(rows: pd.DataFrame, columns: str | list[str]) -> pd.DataFrame:
    """Rows are seeds, columns users (below the metrics, where there are several)."""
    return rows.set_index(["seed", "user_id"])[columns].unstack("user_id")


def summarise(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Means with bootstrap intervals, a row per student, arm, group, metric and cut-off."""
    columns = [name for name in scores.columns if "@" in name]
    rows: list[dict[str, Any]] = []
    for (student, arm, group), part in scores.groupby(["student", "arm", "group"], sort=False):
        grids = _grid(part, columns)
        for column in columns:
            metric, k = column.split("@")
            values = grids[column]
            key = {"student": student, "arm": arm, "group": group, "metric": metric, "k": int(k)}
            interval = bootstrap(values.to_numpy(), resamples=1000)
            rows.append({**key, **asdict(interval), "users": values.shape[1], "seed_count": values.shape[0]})
    return rows


def compare(scores: pd.DataFrame, ours: tuple[str, str], theirs: tuple[str, str], group: str) -> Comparison:
    """Paired by seed and user: NDCG@20 of (student, arm) `ours` less that of `theirs`."""
    column = f"{HEADLINE}@{K}"

    def values(student: str, arm: str) -> pd.DataFrame:
        chosen = (scores["student"] == student) & (scores["arm"] == arm) & (scores["group"] == group)
        return _grid(scores[chosen], column)

    left, right = values(*ours).align(values(*theirs), join="inner")
    difference: NDArray[np.float64] = (left - right).to_numpy(dtype=float)
    interval: Interval = bootstrap(difference)
    base = float(np.nanmean(right.to_numpy(dtype=float))) if right.size else float("nan")
    relative = interval.mean / base if base > 0 else float("nan")
    return Comparison(*ours, *theirs, group, interval.mean, interval.low, interval.high, relative, left.shape[1])


def by_llm(arm: str) -> bool:
    return arm.startswith("llm") or bool(LLM_PARTS.intersection(arm.split("+")))


def compare_all(scores: pd.DataFrame) -> list[Comparison]:
    """Each arm with the same student on real data, in every group; the LLM arms with every other arm, but for warm."""
    found = []
    for student, rows in scores.groupby("student", sort=False):
        arms = [arm for arm in rows["arm"].unique() if arm != REAL]
        found += [compare(scores, (student, arm), (student, REAL), group) for arm in arms for group in GROUPS]
        judged = [arm for arm in arms if by_llm(arm)]
        controls = [arm for arm in arms if arm != AGAIN and arm not in judged]
        duels = [((student, a), (student, b)) for a in judged for b in controls]
        found += [compare(scores, *duel, group) for duel in duels for group in ("cold", "overall")]
    return [one for one in found if one.users]


def left_cold(folders: Sequence[Path]) -> str:
    """What the splits leave cold: 'items' or 'users'."""
    found = {read_json(path).get("left_cold", "items") for f in folders if (path := f / "arms.json").is_file()}
    if len(found) > 1:
        raise InputError("some splits leave items cold and some users; a verdict is on one of them")
    return found.pop() if found else "items"


def read_validation(folders: Sequence[Path]) -> Marks:
    """Mean validation NDCG@20 of each (student, arm); empty where a split had no validation rows."""
    rows = [row for folder in folders for row in read_json(folder / "tuning.json")]
    if any(row["validation"] is None for row in rows):
        return {}
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        found.setdefault((row["student"], row["arm"]), []).append(row["validation"])
    return {key: float(np.mean(values)) for key, values in found.items()}


def best(
    metrics: Sequence[dict[str, Any]], real: bool, fusion: bool, validation: Marks | None = None
) -> tuple[str, str] | None:
    """The (student, arm) that validation likes most, among real-only or merged, with or without fusion.

    Without validation it is the highest overall NDCG@20 on test, which flatters whoever has more arms to pick from.
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
        if (arm == REAL) is real and arm != AGAIN and (student == FUSION) is fusion
    ]
    return max(keys, key=marks.__getitem__, default=None)


def _points(one: Comparison) -> str:
    relative = "from zero" if np.isnan(one.relative) else f"{one.relative:+.1%}"
    return f"{relative} ({one.gain:+.4f}, 95 % interval {one.low:+.4f} to {one.high:+.4f})"


def sentences(
    scores: pd.DataFrame,
    metrics: Sequence[dict[str, Any]],
    comparisons: Sequence[Comparison],
    validation: Marks | None = None,
    cold: str = "items",
) -> list[str]:
    """The verdict in plain words, good and bad news alike. The models of the headline are picked as `best` does.

    cold: what the split leaves cold, as `left_cold` says.
    """
    lines = _headline(scores, metrics, validation)
    of_cold = {(one.student, one.arm): one for one in comparisons if (one.group, one.against) == ("cold", REAL)}
    doubt = " or the noise of a single seed (evaluate with --seeds 5)" if scores["seed"].nunique() == 1 else ""
    for one in comparisons:
        if one.group != "overall" or one.student != one.against_student:
            continue
        if one.against == REAL and one.arm == AGAIN:
            fault = f"WHICH IS A FAULT of the experiment{doubt}: trust nothing here"
            fine = "as it must" if one.low <= 0 <= one.high else fault
            lines.append(f"A/A, {one.student}: {one.word}, {fine}. {_points(one)}.")
        elif one.against == REAL:
            line = f"{one.student} on {one.arm} data: {one.word} overall over real data alone. {_points(one)}."
            other = of_cold.get((one.student, one.arm))
            lines.append(f"{line} Cold {cold}: {other.word}, {_points(other)}." if other else line)
        elif one.against in CONTROLS:
            lines.append(f"{one.arm} over {CONTROLS[one.against]}, {one.student}: {one.word}. {_points(one)}.")
    for one in comparisons:
        fell = one.group == "warm" and one.against == REAL and one.relative < -WARM_LOSS
        if fell and one.arm != AGAIN:
            lines.append(f"Warm {cold} lose: {one.student} on {one.arm} data {_points(one)}.")
    return lines


def _headline(scores: pd.DataFrame, metrics: Sequence[dict[str, Any]], validation: Marks | None) -> list[str]:
    lines = [] if validation else ["Without validation, the best models are picked on test, which flatters them."]

    def top(real: bool, fusion: bool) -> tuple[str, str] | None:
        return best(metrics, real, fusion, validation)

    single, merged, bar = top(real=True, fusion=False), top(real=False, fusion=False), top(real=True, fusion=True)
    if single and merged:
        one = compare(scores, merged, single, "overall")
        lines.append(
            f"Best single model on merged data, {merged[0]} ({merged[1]}), against the best on real data alone, "
            f"{single[0]}: {one.word}. {_points(one)}."
        )
    if bar and merged:
        one = compare(scores, merged, bar, "overall")
        word = {"gain": "beats", "harm": "loses to", "no gain": "does not beat"}[one.word]
        lines.append(f"It {word} tuned late fusion of real-only models. {_points(one)}.")
        fused = top(real=False, fusion=True)
        if fused:
            one = compare(scores, fused, bar, "overall")
            lines.append(f"Fused likewise, merged data ({fused[1]}) against that fusion: {one.word}. {_points(one)}.")
    return lines


def table(metrics: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row per student and arm, NDCG@20 of the three groups with the overall interval."""
    cells: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in metrics:
        if (row["metric"], row["k"]) == (HEADLINE, K):
            cells.setdefault((row["student"], row["arm"]), {})[row["group"]] = row
    lines = ["| student | arm | cold | warm | overall | 95 % interval |", "|---|---|---|---|---|---|"]
    for (student, arm), groups in cells.items():
        means = [f"{groups[group]['mean']:.3f}" if group in groups else "-" for group in GROUPS]
        overall = groups.get("overall")
        interval = f"{overall['low']:.3f} to {overall['high']:.3f}" if overall else "-"
        lines.append(f"| {student} | {arm} | {' | '.join(means)} | {interval} |")
    return "\n".join(lines) + "\n"


def write_verdict(output: Path, folders: Sequence[Path]) -> str:
    """From the per-user rows and tuning of folders to metrics.json, comparisons.json, verdict.txt and its words."""
    scores = read_scores(folders)
    metrics, comparisons = summarise(scores), compare_all(scores)
    validation, cold = read_validation(folders), left_cold(folders)
    words = "\n".join(sentences(scores, metrics, comparisons, validation, cold)) + "\n"
    write_json(output / "metrics.json", metrics)
    rows = [{**asdict(one), "word": one.word} for one in comparisons]
    for row in rows:
        row["relative"] = None if np.isnan(row["relative"]) else row["relative"]  # JSON has no NaN
    write_json(output / "comparisons.json", rows)
    write_text(output / "verdict.txt", words)
    return words
