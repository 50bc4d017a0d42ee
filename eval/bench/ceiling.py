"""What fusion on merged data could gain at most: python -m eval.bench.ceiling RUN [--arm funnel] [--seed 0]

Fusion mixes its parts by numbers that validation chooses. Here the test rows choose them as well, which nobody may do
in earnest: it bounds what better tuning could bring. Overall NDCG@20 on test of fusion on real rows alone, and on
merged data at each weight of the pairs: under the numbers that validation chose, and under the best ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import typer

from eval.arms import REAL, read_arm
from eval.bench.report import print_json, print_page, start
from eval.ranking import Held, Scorer, held_out, per_user
from eval.tuning import OBJECTIVE, with_encoder
from llm_aug.config import Recipe, load_recipe
from llm_aug.data import Dataset
from llm_aug.errors import InputError
from llm_aug.files import read_json
from llm_aug.run import CONFIG, seed_folder
from llm_aug.splits import read_split
from recommender import make_student

STUDENT = "fusion"


def measured(recipe: Recipe, folder: Path, arm: str) -> list[dict[str, Any]]:
    """Of one seed's folder. Raises InputError where the run has not evaluated fusion, or kept nothing of the arm."""
    split, kept = read_split(folder / "02-split"), folder / f"05-kept-{arm}"
    if not kept.is_dir():
        raise InputError(f"{folder} kept nothing of {arm!r}; name an arm of the run")
    options = _chosen(folder / "06-scores" / "tuning.json")
    pairs = read_arm(arm, kept, split)
    sides = {(REAL, 1.0): split.training}
    sides |= {(arm, weight): pairs.merged(split, weight) for weight in recipe.evaluate.synthetic_weights}
    held = held_out(split, "validation"), held_out(split, "test")
    return [
        {"seed": split.seed, "arm": name, "weight": weight, **_best(options, recipe.encoder, merged, *held)}
        for (name, weight), merged in sides.items()
    ]


def _chosen(path: Path) -> dict[str, Any]:
    """The options of fusion that were searched on real rows alone."""
    for row in read_json(path):
        if (row["student"], row["arm"]) == (STUDENT, REAL):
            return dict(row["options"])
    raise InputError(f"{path} tells nothing of {STUDENT}; run a recipe with this student")


def _best(options: dict[str, Any], encoder: str, data: Dataset, validation: Held, test: Held) -> dict[str, float]:
    fixed = with_encoder(STUDENT, {"l2": options["l2"]}, encoder)
    variants = list(make_student(STUDENT, fixed).fit(data).variants())
    scored = [(_ndcg(one, validation), _ndcg(one, test)) for one in variants]
    chosen = max(scored, key=lambda pair: pair[0])  # the first of equals: a tie is not for the test rows to break
    return {"validation": chosen[0], "test": chosen[1], "best": max(test for _, test in scored)}


def _ndcg(model: Scorer, held: Held) -> float:
    return float(per_user(model, held, (20,), 0, ("overall",))[OBJECTIVE].mean())


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over the seeds; gains over real rows alone, chosen against chosen and best against best."""
    lines = ["| arm | weight | validation | test, chosen by validation | gain | test, chosen by test | gain |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    means: dict[tuple[str, float], dict[str, float]] = {}
    for arm, weight in dict.fromkeys((row["arm"], row["weight"]) for row in rows):
        same = [row for row in rows if (row["arm"], row["weight"]) == (arm, weight)]
        means[arm, weight] = {name: fmean(row[name] for row in same) for name in ("validation", "test", "best")}
    real = means[REAL, 1.0]
    for (arm, weight), found in means.items():
        gains = {name: "" if arm == REAL else f"{found[name] / real[name] - 1:+.1%}" for name in ("test", "best")}
        cells = [f"{found['validation']:.4f}", f"{found['test']:.4f}", gains["test"], f"{found['best']:.4f}"]
        lines.append(f"| {arm} | {weight:g} | {' | '.join([*cells, gains['best']])} |")
    return "\n".join(lines) + "\n"


def main(
    run: Path = typer.Argument(..., help="Folder of a run with fusion among its students."),  # noqa: B008
    arm: str = "funnel",
    seed: list[int] = typer.Option([], help="Of the run's; all of them where none is named."),  # noqa: B008
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    recipe = load_recipe(run / CONFIG)
    rows = [row for one in seed or recipe.seeds for row in measured(recipe, seed_folder(run, one), arm)]
    if as_json:
        print_json({"rows": rows})
    else:
        print_page("What fusion on merged data could gain at most", table(rows))


if __name__ == "__main__":
    start(main)
