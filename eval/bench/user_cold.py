"""What histories do for users with few events, by how few: python -m eval.bench.user_cold RECIPE ... [--revealed 1,3,5]

Each RECIPE (eval/recipes/movies-users.yaml) is run once per number of revealed events, on the same cold users and the
same tested rows; a run that is there is kept. The adapters are tuned where the fewest are revealed, whose training rows
all the others hold, too. The table: NDCG@20 of cold users by student, on real data alone and with each arm, the seeds
and kept pairs of the arm, and the relative difference to real data with its 95 % interval, by the seeds of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import typer

from eval.arms import AGAIN, REAL
from eval.bench.report import print_json, print_page
from llm_aug.config import load_recipe
from llm_aug.errors import InputError
from llm_aug.files import read_json
from llm_aug.run import run

NOTE = "\n\\* on some seed another number of pairs than the arm whose volume it was to equal\n"


def sweep(recipe: Path, revealed: Sequence[int], output: Path, overrides: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of all runs: student, revealed, arm, cold users' NDCG@20, relative and interval over real data."""
    rows: list[dict[str, Any]] = []
    tuned: list[str] = []
    for k in sorted(revealed):
        shown = [f"split.revealed={k}", f"split.reserved={max(revealed)}", f"history.users_with_at_most={k}"]
        folder = output / recipe.stem / f"revealed-{k}"
        run(load_recipe(recipe, [*shown, *tuned, *overrides]), folder)
        tuned = tuned or ["finetune=null", f"adapter={folder.resolve() / 'seed-{seed}' / '03-adapter'}"]
        rows += [{"recipe": recipe.stem, "revealed": k, **row} for row in of_cold_users(folder, "history")]
    return rows


def of_cold_users(folder: Path, source: str) -> list[dict[str, Any]]:
    """A row per student and arm, from the files of a run or of an evaluation of several splits.

    gain, low, high: over the student's mean on real data, of the users and seeds that have both. pairs: kept, the mean
    over the seeds. equal: whether on each seed they are as many as those of `source`, whose volume others go by.
    """
    means = {
        (row["student"], row["arm"]): row
        for row in read_json(folder / "metrics.json")
        if (row["group"], row["metric"], row["k"]) == ("cold", "ndcg", 20)
    }
    own = {
        (row["student"], row["arm"], row["against"]): row
        for row in read_json(folder / "comparisons.json")
        if row["group"] == "cold" and row["student"] == row["against_student"]
    }
    pairs = kept_pairs(folder)
    rows = []
    for (student, arm), mean in means.items():
        row = {"student": student, "arm": arm, "ndcg@20": mean["mean"], "users": mean["users"]}
        found = pairs.get(arm, {})
        row |= {"seeds": mean["seed_count"], "pairs": fmean(found.values()) if found else None}
        row["equal"] = all(pairs.get(source, {}).get(seed) == count for seed, count in found.items())
        if one := own.get((student, arm, "real")):
            base = one["gain"] / one["relative"] if one["relative"] else means[student, "real"]["mean"]
            ends = {name: one[name] / base if base else None for name in ("gain", "low", "high")}
            row |= {"word": one["word"], **ends}
        row["over"] = {against: one["word"] for (s, a, against), one in own.items() if (s, a) == (student, arm)}
        rows.append(row)
    return rows


def kept_pairs(folder: Path) -> dict[str, dict[str, int]]:
    """The pairs that each arm brought to the real data on each seed, by the seed's folder."""
    found: dict[str, dict[str, int]] = {}
    for path in sorted(folder.glob("seed-*/*/arms.json")):
        for row in read_json(path)["arms"]:
            if row["arm"] not in (REAL, AGAIN):
                found.setdefault(row["arm"], {})[path.parts[-3]] = row["pairs"]
    return found


def counted(row: Mapping[str, Any]) -> str:
    """Cells of seeds and kept pairs; a * where the pairs are not as many as those that the arm was to equal."""
    pairs = "" if row["pairs"] is None else f"{row['pairs']:.0f}{'' if row['equal'] else '*'}"
    return f"{row['seeds']} | {pairs}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    names = ["recipe", "revealed", "student", "arm", "seeds", "pairs", "NDCG@20, cold users", "over real data alone"]
    lines = [f"| {' | '.join(names)} | history over it |", "|---|---|---|---|---:|---:|---|---|---|"]
    words = {
        (row["recipe"], row["revealed"], row["student"], against): word
        for row in rows
        if row["arm"] == "history"
        for against, word in row["over"].items()
    }
    for row in rows:
        key = (row["recipe"], row["revealed"], row["student"])
        known = row.get("gain") is not None
        gain = f"{row['word']} {row['gain']:+.1%} ({row['low']:+.1%} to {row['high']:+.1%})" if known else ""
        word = words.get((*key, row["arm"]), "")
        cells = [*map(str, key), row["arm"], counted(row), f"{row['ndcg@20']:.4f}", gain, word]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" + NOTE


def main(
    recipes: list[Path] = typer.Argument(..., help="As eval/recipes/movies-users.yaml."),  # noqa: B008
    revealed: str = typer.Option("1,3,5", help="Numbers of first events that training sees of a cold user."),
    output: Path = typer.Option(Path("runs"), "--output", "-o"),  # noqa: B008
    overrides: list[str] = typer.Option([], "--set", metavar="KEY=VALUE"),  # noqa: B008
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    try:
        counts = [int(part) for part in revealed.split(",")]
    except ValueError:
        raise InputError(f"--revealed {revealed}: write numbers, as in 1,3,5") from None
    rows = [row for recipe in recipes for row in sweep(recipe, counts, output, overrides)]
    if as_json:
        print_json(rows)
    else:
        print_page("Histories for users with few events", table(rows))


if __name__ == "__main__":
    typer.run(main)
