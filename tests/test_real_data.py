"""The main claim on real data, where that is at hand: merged data helps cold start, and the controls do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.data,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not DATA.is_dir(), reason="the development data does not lie beside this checkout"),
]


@pytest.fixture(scope="module")
def comparisons(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """One split of movies, funnel and random users, iALS; without a language model, which has tests of its own."""
    output = tmp_path_factory.mktemp("movies") / "run"
    command = [Path(sys.executable).with_name("llm-aug"), "run", ROOT / "eval" / "recipes" / "movies.yaml"]
    chosen = ["seeds=[0]", "arms=[random,funnel]", "evaluate.students={ials: {}}"]
    flags = [part for one in chosen for part in ("--set", one)]
    subprocess.run([*command, "--output", output, *flags], check=True, timeout=1100)
    found: list[dict[str, Any]] = json.loads((output / "comparisons.json").read_text())
    return found


def one(comparisons: list[dict[str, Any]], arm: str, group: str) -> dict[str, Any]:
    (found,) = (row for row in comparisons if (row["arm"], row["against"], row["group"]) == (arm, "real", group))
    return found


def test_merged_pairs_lift_ials_by_half_and_spare_warm_items(comparisons: list[dict[str, Any]]) -> None:
    overall, warm = one(comparisons, "funnel", "overall"), one(comparisons, "funnel", "warm")
    assert overall["relative"] >= 0.5
    assert overall["low"] > 0
    assert warm["relative"] >= -0.05


def test_the_same_rows_again_gain_nothing(comparisons: list[dict[str, Any]]) -> None:
    again = one(comparisons, "a/a", "overall")
    assert again["low"] <= 0 <= again["high"]


def test_random_users_gain_nothing(comparisons: list[dict[str, Any]]) -> None:
    assert one(comparisons, "random", "overall")["low"] <= 0
