"""Every task asked on real catalogues, with adapters tuned there: python -m eval.bench.tasks RECIPE ...

Each RECIPE (eval/recipes/movies.yaml) says where the data lie and how they are cleaned. An adapter per task learns its
styles from one split's training side; then each style is asked --limit times, without an adapter, with the task's, and
with the other catalogue's, and goes through the filter. A run that is there is kept.

With --held-out rewriting alone is asked, about the items whose title is reserved (`llm_aug.builtin.reserved`, a tenth):
the built-in model has not read about them, and no adapter has learnt from them. With --only rewrite/condense,...
nothing but these is learnt and asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from eval.bench.report import print_json, print_page, start
from llm_aug import pipeline
from llm_aug.builtin.reserved import reserved
from llm_aug.config import Recipe, load_recipe
from llm_aug.data import Dataset, Split
from llm_aug.errors import InputError, ShortOfTarget, did_you_mean
from llm_aug.files import read_json
from llm_aug.splits import read_split, split_hash, write_split
from llm_aug.tasks import load_task

STYLES = {
    "rewrite": ("paraphrase", "expand", "condense", "describe", "trim", "swap", "fuse", "attributes"),
    "history": ("extend", "simulate"),
    "review": ("write", "queries"),
    "profile": ("interests", "group"),
}
JUDGES = ("history", "preference")
# What a style needs beside its defaults.
OPTIONS: dict[str, list[str]] = {
    "history/extend": ["history.users_with_at_most=20", "history.max_tokens=192"],
    "history/simulate": ["history.new_users=100", "history.max_tokens=192"],
    "profile/group": ["profile.groups=100"],
}
CONSTRAINED = "history/extend, constrained"
ADAPTERS = ("none", "own", "other")
UNASKABLE = ("no_description", "no_facts", "one_source", "nothing_missing")  # rejects before any answer


@dataclass(frozen=True)
class House:
    """One catalogue's folders. root: of all that is made from it. held_out: adapters learn without reserved items.

    only: TASK/STYLE, what is learnt and asked; everything where there are none.
    """

    recipe: Path
    root: Path
    overrides: Sequence[str]
    held_out: bool = False
    only: Sequence[str] = ()

    def with_(self, *overrides: str) -> Recipe:
        return load_recipe(self.recipe, [*self.overrides, *overrides])

    @property
    def split(self) -> Path:
        return self.root / "split"

    @property
    def taught(self) -> Path:
        """The split that adapters learn from."""
        return self.root / "taught" if self.held_out else self.split

    @property
    def asked(self) -> Path:
        """The split whose items and users are asked about; what comes of it is filtered by the whole catalogue."""
        return self.root / "asked" if self.held_out else self.split

    @property
    def styles(self) -> dict[str, Sequence[str]]:
        return by_task([name for name in askable(self.held_out) if not self.only or name in self.only])

    def adapter(self, task: str) -> Path:
        return self.root / "adapters" / task

    def prepare(self, minutes: float, tune: bool) -> None:
        pipeline.prepare(self.with_(), self.root / "data")
        pipeline.split(self.with_(), self.root / "data", self.split)
        if self.held_out and not self.taught.exists():
            found = read_split(self.split)
            write_split(self.asked, part_of(found, reserved))
            write_split(self.taught, part_of(found, lambda title: not reserved(title)))
        if not tune:
            return
        for task, styles in self.teachable().items():
            names = ", ".join(f"{task}/{style}" for style in styles)
            tuning = f"tasks: [{names}], per_task: 1500, max_minutes: {minutes * len(styles)}, learning_rate: 0.003"
            recipe = self.with_(f"finetune={{{tuning}, lora_r: 32}}", "finetune.per_device_train_batch_size=16")
            pipeline.finetune(recipe, self.taught, self.adapter(task))

    def teachable(self) -> dict[str, Sequence[str]]:
        """Styles by task that this catalogue has an example of: not every one has values to fill in, or tags."""
        training = read_split(self.taught).training
        found: dict[str, Sequence[str]] = {} if self.held_out or self.only else {"judge": JUDGES}
        for task, styles in self.styles.items():
            found[task] = [style for style in styles if self._teaches(training, task, style)]
        return {task: styles for task, styles in found.items() if styles}

    def _teaches(self, training: Dataset, task: str, style: str) -> bool:
        options = {**self.with_().task_options(task), "style": style}
        with suppress(InputError):
            return next(iter(load_task(task, **options).examples(training)), None) is not None
        return False


def askable(held_out: bool) -> list[str]:
    """Every TASK/STYLE."""
    return [f"{task}/{style}" for task in (("rewrite",) if held_out else STYLES) for style in STYLES[task]]


def by_task(names: Sequence[str]) -> dict[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        task, _, style = name.partition("/")
        found.setdefault(task, []).append(style)
    return dict(found)


def part_of(split: Split, wanted: Callable[[str], bool]) -> Split:
    """The items whose title is wanted, and their interactions."""
    items = split.items[split.items["title"].map(wanted)]
    known = set(items["item_id"])
    parts = {name: rows[rows["item_id"].isin(known)] for name, rows in split.parts.items()}
    cold = tuple(one for one in split.cold_items if one in known)
    return replace(split, items=items, cold_items=cold, hash=split_hash(items, parts.values()), **parts)


Adapters = Callable[[str], Path | None]


def untuned(task: str) -> None:
    """No adapter, whatever is asked."""


def asked(house: House, adapters: Adapters, label: str, limit: int) -> Iterator[dict[str, Any]]:
    """A row per task and style: asked, parsed, kept, reasons of rejects and drops, and the task's own metrics."""
    for task, styles in house.styles.items():
        if (adapter := adapters(task)) is not None and not adapter.exists():
            continue  # nothing there teaches this task
        for style in styles:
            name = f"{task}/{style}"
            overrides = [f"{task}.style={style}", *OPTIONS.get(name, ())]
            yield _asked(house, adapter, label, task, name, overrides, limit)
    if house.held_out or house.only:
        return
    constrained = ["history.constrained=true", *OPTIONS["history/extend"]]
    yield _asked(house, adapters("history"), label, "history", CONSTRAINED, constrained, limit)


def _asked(
    house: House, adapter: Path | None, label: str, task: str, name: str, overrides: Sequence[str], limit: int
) -> dict[str, Any]:
    recipe = house.with_(*overrides, f"{task}.limit={limit}", "finetune=null")
    folder = house.root / label / name.replace("/", "-").replace(", ", "-")
    row: dict[str, Any] = {"data": house.recipe.stem, "adapter": label, "task": name}
    try:
        made = _short(lambda: pipeline.ask(recipe, task, house.asked, adapter, folder / "samples"))
    except InputError as error:
        return {**row, "asked": 0, "parsed": 0, "kept": 0, "reasons": {str(error).partition(" (")[0]: 0}}
    counts = read_json(folder / "samples" / "manifest.json")["counts"]
    row |= {key: counts[key] for key in ("asked", "parsed", "reasons")}
    if (metrics := folder / "samples" / "metrics.json").is_file():
        row["metrics"] = read_json(metrics)
    if made and counts["parsed"]:
        _short(lambda: pipeline.filter_samples(recipe, folder / "samples", house.split, folder / "kept"))
        found = read_json(folder / "kept" / "filter.json")
        return {**row, "kept": found["counts"]["kept"], "dropped": found["reasons"]}
    return {**row, "kept": 0, "dropped": {}}


def passed(row: dict[str, Any]) -> float | None:
    """Share of the answers that the whole filter keeps; None where nothing could be asked."""
    if "kept" not in row:
        return None
    answers = row["asked"] - sum(row["reasons"].get(reason, 0) for reason in UNASKABLE)
    return row["kept"] / answers if answers else None


def _short(work: Any) -> bool:
    """Whether the stage did what it should; too few answers are a result here."""
    try:
        work()
    except ShortOfTarget as error:
        sys.stderr.write(f"{error}\n")
        return False
    return True


def judged(house: House, adapter: Path | None, label: str) -> Iterator[dict[str, Any]]:
    """AUC inside pseudo-cold candidate lists, of the funnel, of the judge, and of both."""
    for style in JUDGES:
        folder = house.root / label / f"judge-{style}"
        sizes = ["interactions.calibration_pairs=2000", "funnel.per_item=2", "funnel.per_user=2", "funnel.pool=1.2"]
        recipe = house.with_(f"interactions.judge.style={style}", "finetune=null", *sizes)
        pipeline.interactions(recipe, "llm", house.split, adapter, folder)
        auc = read_json(folder / "metrics.json")["auc_in_pseudo_cold_lists"]
        counts = read_json(folder / "manifest.json")["counts"]
        row = {"data": house.recipe.stem, "adapter": label, "task": f"judge/{style}", "metrics": auc}
        yield {**row, "asked": counts["asked"], "parsed": counts["asked"] - counts["failed"], "reasons": {}}


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| data | adapter | task | asked | parsed | kept | passed | rejected for | dropped for | measured |"]
    lines.append("|---|---|---|---:|---:|---:|---:|---|---|---|")
    for row in rows:
        reasons = (_listed(row.get(name, {})) for name in ("reasons", "dropped"))
        cells = [row["data"], row["adapter"], row["task"], row["asked"], row["parsed"], row.get("kept", "-")]
        share = passed(row)
        cells.append("-" if share is None else f"{share:.0%}")
        lines.append(f"| {' | '.join(map(str, [*cells, *reasons, _measured(row.get('metrics', {}))]))} |")
    return "\n".join(lines) + "\n"


def _listed(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in list(reasons.items())[:3])


def _measured(metrics: dict[str, Any]) -> str:
    found = [f"grounded {metrics['grounding_rate']:.1%}"] if metrics.get("grounding_rate") is not None else []
    found += [f"AUC of the {name} {metrics[name]:.3f}" for name in ("funnel", "judge") if name in metrics]
    return ", ".join(found)


def _among(option: str, given: str, known: Sequence[str]) -> list[str]:
    found = [name for name in given.split(",") if name]
    for name in found:
        if name not in known:
            raise InputError(f"{option} {name}; {did_you_mean(name, known)}")
    return found


def main(
    recipes: list[Path] = typer.Argument(..., help="As eval/recipes/movies.yaml."),  # noqa: B008
    minutes: float = typer.Option(1.5, help="Of fine-tuning, per style."),
    limit: int = typer.Option(100, help="Requests per task and style."),
    output: Path = typer.Option(Path("runs") / "tasks", "--output", "-o"),  # noqa: B008
    held_out: bool = typer.Option(False, help="Rewrite the reserved items, which nothing has learnt from."),
    only: str = typer.Option("", metavar="TASK/STYLE,...", help="Learn and ask these alone."),
    adapters: str = typer.Option(",".join(ADAPTERS), help="Ask with these."),
    overrides: list[str] = typer.Option([], "--set", metavar="KEY=VALUE"),  # noqa: B008
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    wanted = _among("--adapters", adapters, ADAPTERS)
    styles = _among("--only", only, askable(held_out))
    houses = [House(recipe, output / recipe.stem, overrides, held_out, styles) for recipe in recipes]
    rows: list[dict[str, Any]] = []
    for house in houses:
        house.prepare(minutes, wanted != ["none"])
        tuned: dict[str, Adapters] = {"none": untuned, "own": house.adapter}
        for label in [label for label in tuned if label in wanted]:
            rows += asked(house, tuned[label], label, limit)
            rows += [] if house.held_out or house.only else judged(house, tuned[label]("judge"), label)
    for house, other in zip(houses, [*houses[1:], *houses[:1]], strict=True):
        if other is not house and "other" in wanted:
            rows += asked(house, other.adapter, f"of {other.recipe.stem}", limit)
    if as_json:
        print_json(rows)
    else:
        print_page("Every task on real catalogues", table(rows))


if __name__ == "__main__":
    start(main)
