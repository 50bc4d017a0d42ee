"""README.md of a run, its dataset card: whoever finds the folder knows what it holds and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eval.findings import headline
from eval.verdict import table
from llm_aug.config import Recipe
from llm_aug.files import read_json, write_text

_CARD = """# {title}

Synthetic data for a recommender, made by llm-aug {version}, and what it was worth. `report.html` shows the same with
figures; `config.resolved.yaml` makes it again: `llm-aug run config.resolved.yaml --output ANOTHER_FOLDER`.

## Verdict

{verdict}
{table}
## What went in and what came out

{lines}

Every row is accounted for: asked = parsed + rejected + failed, judged = kept + dropped. The reasons are in
`rejects.parquet` and `dropped.parquet` of each folder, the origin of each sample beside it in `kept.parquet`.

## Origin

- Source: {source}
- Files and their SHA-256: {files}
- Model: {model}; encoder: {encoder}; seeds: {seeds}
- Split: {strategy}; no row that is held out was shown to the model, and `evaluate` refuses samples of another split.

## Before you use it

The synthetic rows are guesses of a model that was tuned on the real log. They are marked `is_synthetic` when they are
merged, they are no evidence of what any person likes, and they fall under the terms of the source data and of the
model as well as your own. Pairs name real user ids of the source: share them as you would share the log.
"""


def write_card(run: Path, title: str, recipe: Recipe, marks: Mapping[str, Mapping[str, Any]]) -> None:
    """marks: folder name -> its stage.json. Item texts are not quoted: the report can escape them, Markdown cannot."""
    words = (run / "verdict.txt").read_text(encoding="utf-8")
    files = marks["01-data"]["recipe"]["files"]
    card = _CARD.format(
        title=title,
        version=version("llm-aug"),
        verdict="".join(f"- {sentence}\n" for sentence in headline(words)),
        table=table(read_json(run / "metrics.json")),
        lines="\n".join(f"- `{folder}`: {mark['line']}" for folder, mark in marks.items()),
        source=recipe.data.source if recipe.data else "",
        files=", ".join(f"{name} {digest}" for name, digest in sorted(files.items())),
        model=recipe.model,
        encoder=recipe.encoder,
        seeds=", ".join(map(str, recipe.seeds)),
        strategy=recipe.split.strategy,
    )
    write_text(run / "README.md", card)
