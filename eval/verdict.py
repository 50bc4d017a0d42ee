"""From per-user metrics to a verdict: means with intervals, paired differences to real data, and sentences.

metrics.json      rows {student, arm, group, metric, k, mean, low, high, users, seed_count}; auc has no k
                  coverage, gini, novelty and diversity are of all lists, not of users: low and high are null
comparisons.json  rows {student, arm, against_student, against, group, gain, low, high, relative, users, p, p_holm,
                  word}: NDCG@20 of arm less against
verdict.txt       the sentences
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eval.arms import AGAIN, REAL
from eval.compare import HEADLINE, Comparison, K, compare, compare_all, grid
from eval.ranking import GROUPS
from eval.stats import bootstrap
from llm_aug.errors import InputError
from llm_aug.files import read_json, read_parquet, write_json, write_text

Marks = Mapping[tuple[str, str], float]
FUSION = "fusion"
CONTROLS = {  # told in the verdict
    "funnel": "the funnel without an LLM",
    "random": "as many pairs of random users",
    "random-items": "as many random items",
    "popular-items": "as many of the most popular items",
    "similar-items": "as many of the most similar items",
}
KEYS = ("student", "arm", "seed", "group", "user_id")  # of a per-user row; the other columns are metrics
WARM_LOSS = 0.02  # a relative fall of warm NDCG that the verdict mentions


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


def summarise(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Means with bootstrap intervals, a row per student, arm, group, metric and cut-off."""
    columns = [name for name in scores.columns if name not in KEYS]
    rows: list[dict[str, Any]] = []
    for (student, arm, group), part in scores.groupby(["student", "arm", "group"], sort=False):
        grids = grid(part, columns)
        for column in columns:
            values = grids[column]
            if not values.notna().any(axis=None):  # no user has other candidates: no AUC
                continue
            metric, _, k = column.partition("@")
            key = {"student": student, "arm": arm, "group": group, "metric": metric, "k": int(k) if k else None}
            interval = bootstrap(values.to_numpy(), resamples=1000)
            rows.append({**key, **asdict(interval), "users": values.shape[1], "seed_count": values.shape[0]})
    return rows


def summarise_catalogue(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Means over seeds of what `eval.catalogue` says of the lists, without an interval; users: lists of a seed."""
    found = [row for folder in folders if (path := folder / "catalogue.json").is_file() for row in read_json(path)]
    if not found:
        return []
    keys = ["student", "arm", "group", "metric", "k"]
    named = {"mean": ("value", "mean"), "users": ("users", "max"), "seed_count": ("seed", "nunique")}
    rows = pd.DataFrame(found).groupby(keys, sort=False).agg(**named).reset_index()
    return [{**row, "low": None, "high": None} for row in rows.to_dict("records")]


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
    clear = one.low > 0 or one.high < 0
    doubt = ", which other arms of the same question make doubtful" if clear and one.word == "no gain" else ""
    return f"{relative} ({one.gain:+.4f}, 95 % interval {one.low:+.4f} to {one.high:+.4f}{doubt})"


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
            fine = "as it must" if one.word == "no gain" else fault
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
    metrics, comparisons = [*summarise(scores), *summarise_catalogue(folders)], compare_all(scores)
    validation, cold = read_validation(folders), left_cold(folders)
    words = "\n".join(sentences(scores, metrics, comparisons, validation, cold)) + "\n"
    write_json(output / "metrics.json", metrics)
    rows = [{**asdict(one), "word": one.word} for one in comparisons]
    for row in rows:
        row["relative"] = None if np.isnan(row["relative"]) else row["relative"]  # JSON has no NaN
    write_json(output / "comparisons.json", rows)
    write_text(output / "verdict.txt", words)
    return words
