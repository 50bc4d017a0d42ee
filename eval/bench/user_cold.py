"""What histories do for users with few events, by how few: python -m eval.bench.user_cold RECIPE ... [--revealed 1,3,5]

Each RECIPE (eval/recipes/movies-users.yaml) is run once per number of revealed events, on the same cold users and the
same tested rows; a run that is there is kept. The adapters are tuned where the fewest are revealed, whose training rows
all the others hold, too. The table: NDCG@20 of cold users by student, on real data alone and with
each arm, the relative difference to real data and its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from eval.bench.report import print_json, print_page
from llm_aug.config import load_recipe
from llm_aug.errors import InputError
from llm_aug.files import read_json
from llm_aug.run import run


def sweep(recipe: Path, revealed: Sequence[int], output: Path, overrides: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of all runs: student, revealed, arm, cold users' NDCG@20, relative and interval over real data."""
    rows: list[dict[str, Any]] = []
    tuned: list[str] = []
    for k in sorted(revealed):
        shown = [f"split.revealed={k}", f"split.reserved={max(revealed)}", f"history.users_with_at_most={k}"]
        folder = output / recipe.stem / f"revealed-{k}"
        run(load_recipe(recipe, [*shown, *tuned, *overrides]), folder)
        tuned = tuned or ["finetune=null", f"adapter={folder.resolve() / 'seed-{seed}' / '03-adapter'}"]
        rows += [{"recipe": recipe.stem, "revealed": k, **row} for row in of_cold_users(folder)]
    return rows


def of_cold_users(folder: Path) -> list[dict[str, Any]]:
    """A row per student and arm. relative, low, high: over the student's mean on real data."""
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
    rows = []
    for (student, arm), mean in means.items():
        row = {"student": student, "arm": arm, "ndcg@20": mean["mean"], "users": mean["users"]}
        real = means[student, "real"]["mean"]
        if one := own.get((student, arm, "real")):
            ends = {name: one[name] / real if real else None for name in ("gain", "low", "high")}
            row |= {"word": one["word"], **ends}
        row["over"] = {against: one["word"] for (s, a, against), one in own.items() if (s, a) == (student, arm)}
        rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| recipe | revealed | student | arm | NDCG@20, cold users | over real data alone | history over it |"]
    lines.append("|---|---|---|---|---|---|---|")
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
        cells = [*map(str, key), row["arm"], f"{row['ndcg@20']:.4f}", gain, words.get((*key, row["arm"]), "")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


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
