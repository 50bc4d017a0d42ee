"""From per-user metrics to a verdict: means with intervals, paired differences to real data, and words.

metrics.json      rows {student, arm, group, metric, k, mean, low, high, users, seed_count}; auc has no k
                  coverage, gini, novelty and diversity are of all lists, not of users: low and high are null
comparisons.json  rows {student, arm, against_student, against, group, gain, low, high, relative, users, p, p_holm,
                  word}: NDCG@20 of arm less against
verdict.txt       at most six sentences, a table of gains, and what failed or is doubtful: see eval.findings
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eval.compare import HEADLINE, K, compare_all, grid
from eval.findings import Marks, find
from eval.ranking import GROUPS
from eval.stats import bootstrap
from llm_aug.errors import InputError
from llm_aug.files import read_json, read_parquet, write_json, write_text

KEYS = ("student", "arm", "seed", "group", "user_id")  # of a per-user row; the other columns are metrics


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
    words = find(scores, metrics, comparisons, validation, cold).text()
    write_json(output / "metrics.json", metrics)
    rows = [{**asdict(one), "word": one.word} for one in comparisons]
    for row in rows:
        row["relative"] = None if np.isnan(row["relative"]) else row["relative"]  # JSON has no NaN
    write_json(output / "comparisons.json", rows)
    write_text(output / "verdict.txt", words)
    return words
