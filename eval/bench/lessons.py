"""What the lessons of rewriting teach, judged as if a model had said it: python -m eval.bench.lessons RECIPE ...

Of --limit items of each catalogue, drawn with a seed, every style's own answers go through `parse` and the whole
filter. The catalogue that they are judged by has, for these items, the text and facts that the question showed, since
that is what an answer has to keep to. lessons: items that teach the style, of those asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from eval.bench.report import print_json, print_page, start
from llm_aug import filters, pipeline, seeds
from llm_aug.config import load_recipe
from llm_aug.data import Completion, Dataset, Sample, read_dataset
from llm_aug.errors import InputError
from llm_aug.prompt import styles
from llm_aug.tasks.rewrite import Asked, Rewrite
from llm_aug.vectors import Cached, load_encoder


@dataclass(frozen=True)
class Taught:
    """reasons: of the answers that the filter drops."""

    style: str
    items: int
    lessons: int
    passed: int
    reasons: Mapping[str, int]


def taught(task: Rewrite, dataset: Dataset, encoder: Any) -> Taught:
    lessons = list(task.lessons(dataset))
    told = [(asked, str(task.parse(asked, Completion(answer, "stop", 0)))) for asked, answer in lessons]
    judged = [Sample(asked.key, task.kind, asked.subject, text) for asked, text in told]
    catalogue = dataset if task.kind == "attributes" else as_shown(dataset, [asked for asked, _ in lessons])
    result = filters.run(judged, catalogue, encoder)
    items = len(task.items or dataset.items)
    return Taught(task.style, items, len(lessons), len(result.kept), dict(result.reasons))


def as_shown(dataset: Dataset, questions: Sequence[Asked]) -> Dataset:
    """The catalogue with the questions' texts, and without the attributes that they do not show."""
    items = dataset.items.set_index("item_id", drop=False).assign(other_text="")
    for asked in questions:
        lines = dict(line.partition(": ")[::2] for line in asked.prompt.user.splitlines())
        hidden = [name for name in dataset.attributes if name.replace("_", " ").capitalize() not in lines]
        items.loc[asked.subject, hidden] = ""
        items.loc[asked.subject, "description"] = lines.get("Description", "")
        items.loc[asked.subject, "other_text"] = lines.get("Other text", "")
    return Dataset(items.reset_index(drop=True), dataset.interactions)


def drawn(dataset: Dataset, count: int, seed: int) -> list[str]:
    order = seeds.generator(seed, "bench", "lessons").permutation(len(dataset.items))[:count]
    return dataset.items["item_id"].iloc[sorted(order)].tolist()


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| data | style | items | lessons | passed | share | not passed for |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(row["reasons"]).most_common(4))
        share = f"{row['passed'] / row['lessons']:.0%}" if row["lessons"] else "-"
        cells = [row[name] for name in ("data", "style", "items", "lessons", "passed")]
        lines.append(f"| {' | '.join(map(str, [*cells, share, reasons]))} |")
    return "\n".join(lines) + "\n"


def main(
    recipes: list[Path] = typer.Argument(..., help="As eval/recipes/movies.yaml."),  # noqa: B008
    limit: int = typer.Option(300, help="Items asked of each catalogue."),
    output: Path = typer.Option(Path("runs") / "lessons", "--output", "-o"),  # noqa: B008
    encoder: str = typer.Option("minilm"),
    seed: int = typer.Option(0),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    rows = []
    model = Cached(load_encoder(encoder))
    for recipe in recipes:
        data = output / recipe.stem
        pipeline.prepare(load_recipe(recipe, []), data)
        dataset = read_dataset(data)
        items = drawn(dataset, limit, seed)
        for style in styles("rewrite"):
            task = Rewrite(style=style, items=items, seed=seed)
            try:
                found = taught(task, dataset, model)
            except InputError:  # no attribute has a closed set
                continue
            rows.append({"data": recipe.stem, **vars(found)})
    if as_json:
        print_json(rows)
    else:
        print_page("What the lessons of rewriting teach", table(rows))


if __name__ == "__main__":
    start(main)
