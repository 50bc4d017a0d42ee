"""What the test rows themselves would choose is never worse than what validation chose."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import pytest

from eval.bench import ceiling
from llm_aug.config import load_recipe
from llm_aug.errors import InputError
from llm_aug.files import write_json
from llm_aug.run import CONFIG, seed_folder


def test_the_best_numbers_are_at_least_those_that_validation_chose(finished: Path, tmp_path: Path) -> None:
    recipe = load_recipe(finished / "run" / CONFIG)
    folder = copytree(seed_folder(finished / "run", recipe.seeds[0]), tmp_path / "seed")
    with pytest.raises(InputError, match="nothing of fusion"):
        ceiling.measured(recipe, folder, "funnel")
    rows = [{"student": "fusion", "arm": "real", "options": {"encoder": "hash", "l2": 50.0}}]
    write_json(folder / "06-scores" / "tuning.json", rows)
    found = ceiling.measured(recipe, folder, "funnel")
    assert [(row["arm"], row["weight"]) for row in found] == [
        ("real", 1.0),
        *(("funnel", weight) for weight in recipe.evaluate.synthetic_weights),
    ]
    assert all(0 < row["test"] <= row["best"] for row in found)
    with pytest.raises(InputError, match="kept nothing of 'llm2'"):
        ceiling.measured(recipe, folder, "llm2")


def test_gains_are_of_means_over_the_seeds() -> None:
    def row(arm: str, weight: float, test: float, best: float) -> dict[str, object]:
        return {"seed": 0, "arm": arm, "weight": weight, "validation": 0.1, "test": test, "best": best}

    rows = [row("real", 1, 0.1, 0.2), row("real", 1, 0.3, 0.4), row("llm", 0.4, 0.3, 0.3), row("llm", 0.4, 0.3, 0.33)]
    assert ceiling.table(rows).splitlines()[2:] == [
        "| real | 1 | 0.1000 | 0.2000 |  | 0.3000 |  |",
        "| llm | 0.4 | 0.1000 | 0.3000 | +50.0% | 0.3150 | +5.0% |",
    ]
