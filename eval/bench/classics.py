"""Classics, the funnel and the LLM at one volume: python -m eval.bench.classics PLACE ... [--made mix/items,vae,...]

Each PLACE is the folder of a run, or a recipe, of which the funnel alone is run first (for cold users: the history
that its model writes). On each seed's split every classic makes as many pairs as were kept there, the filter keeps
some, and the students are evaluated on all arms. First table: NDCG@20 of what is cold, with the arm's seeds and kept
pairs, and the relative difference to real data with its 95 % interval. Second: what was kept, and how close it comes to
the real data (filters/corpus.py). Filters drop transforms that repeat real users; --set filter.pairs.copies=true keeps
them. A classic that cannot serve a split (as one for cold items where users are cold) is told, and left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import typer

from eval.bench.report import print_json, print_page, start
from eval.bench.user_cold import NOTE, counted, of_cold_users
from eval.verdict import write_verdict
from llm_aug import pipeline
from llm_aug.classics import load_classic
from llm_aug.config import Recipe, load_recipe
from llm_aug.data import USERS_COLD
from llm_aug.encoding import encoder_of
from llm_aug.errors import InputError, ShortOfTarget
from llm_aug.filters.corpus import corpus
from llm_aug.filters.reference import Reference
from llm_aug.run import CONFIG, run, seed_folder
from llm_aug.sources.samples import read_samples
from llm_aug.splits import read_split

EITHER = ("noise/users", "transform/substitute", "mix/users")
MADE = {
    "items": ("noise/items", *EITHER, "mix/items", "mix/labels", "vae/interactions", "gan/interactions"),
    "users": (*EITHER, "vae/histories", "gan/histories"),
}
BESIDE = ("funnel", "llm", "random", "history")  # of the run itself, where they were kept
SOURCES = ("funnel", "history")  # whose volume the classics equal, the first that there is
KEYS = ("arm", "kind")
FIDELITY = ("coverage", "popularity_drift", "length_drift", "auc")


@dataclass(frozen=True)
class Bench:
    """One run. folder: the run's. root: of what is made here."""

    recipe: Recipe
    folder: Path
    root: Path

    def rows(self, entries: Sequence[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Of each student and arm, and of each arm's samples. entries: none is MADE."""
        entries = entries or MADE["users" if self.recipe.split.strategy == USERS_COLD else "items"]
        fidelity: list[dict[str, Any]] = []
        scores = []
        for seed in self.recipe.seeds:
            arms = self._arms(seed, entries)
            training = read_split(self._split(seed)).training
            reference = Reference(training, encoder_of(self.recipe, training))
            fidelity += [told for arm, kept in arms.items() for told in _told(arm, kept, reference)]
            scores.append(self.root / f"seed-{seed}" / "scores")
            paths = {arm: [kept] for arm, kept in arms.items()}
            pipeline.evaluate(self.recipe.at(seed), paths, self._split(seed), scores[-1])
        write_verdict(self.root, scores)
        return of_cold_users(self.root, source_of(arms)), _means(fidelity)

    def _split(self, seed: int) -> Path:
        return seed_folder(self.folder, seed) / "02-split"

    def _arms(self, seed: int, entries: Sequence[str]) -> dict[str, Path]:
        """What was kept of each arm, the run's own first; an arm of which nothing was kept is left out, and told."""
        kept = {name: seed_folder(self.folder, seed) / f"05-kept-{name}" for name in BESIDE}
        arms = {name: place for name, place in kept.items() if (place / "kept.parquet").is_file()}
        if not any(name in arms for name in SOURCES):
            raise InputError(f"{seed_folder(self.folder, seed)} kept neither a funnel nor a history to equal")
        source = arms[source_of(arms)]
        for entry in entries:
            name, _, style = entry.partition("/")
            recipe = self._with(name, style).at(seed)
            place = self.root / f"seed-{seed}" / entry.replace("/", "-")
            try:
                pipeline.classic(recipe, name, self._split(seed), source, place / "samples")
                pipeline.filter_samples(recipe, place / "samples", self._split(seed), place / "kept")
                arms[entry.replace("/", "-")] = place / "kept"
            except (InputError, ShortOfTarget) as error:
                sys.stderr.write(f"{entry}: {error}\n")
        return arms

    def _with(self, name: str, style: str) -> Recipe:
        options = {**self.recipe.classics.get(name, {}), **({"style": style} if style else {})}
        return self.recipe.model_copy(update={"classics": {**self.recipe.classics, name: options}})


def bench(place: Path, output: Path, overrides: Sequence[str]) -> Bench:
    """Of a run's folder; of a recipe, which is run without the arms that need no model, or with the histories alone."""
    if (place / CONFIG).is_file():
        return Bench(load_recipe(place / CONFIG, overrides), place, output / place.resolve().name)
    users = load_recipe(place, overrides).split.strategy == USERS_COLD
    arms = ["arms=[history]"] if users else ["arms=[funnel]", "finetune=null"]
    recipe, folder = load_recipe(place, [*overrides, *arms]), output / place.stem / "run"
    run(recipe, folder)
    return Bench(recipe, folder, output / place.stem)


def source_of(arms: Iterable[str]) -> str:
    return min(set(arms).intersection(SOURCES), key=SOURCES.index)


def _told(arm: str, kept: Path, reference: Reference) -> list[dict[str, Any]]:
    """A row for each kind of sample: how many, how many pairs, and the figures of its report, made anew: a run may be
    older than a figure."""
    return [
        {
            "arm": arm,
            "kind": kind,
            "samples": report["samples"],
            "pairs": report["synthetic"].get("interactions"),
            **{name: report.get(name) for name in FIDELITY},
        }
        for kind, report in corpus(read_samples(kept / "kept.parquet"), reference).items()
    ]


def _means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over seeds, of each arm and kind."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["arm"], row["kind"]), []).append(row)
    return [
        {"arm": arm, "kind": kind, **{name: _mean([row[name] for row in same]) for name in same[0] if name not in KEYS}}
        for (arm, kind), same in found.items()
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def scores_table(rows: Sequence[dict[str, Any]]) -> str:
    names = ["data", "student", "arm", "seeds", "pairs", "NDCG@20, cold", "over real data alone"]
    lines = [f"| {' | '.join(names)} |", "|---|---|---|---:|---:|---:|---|"]
    for row in rows:
        known = row.get("gain") is not None
        gain = f"{row['word']} {row['gain']:+.1%} ({row['low']:+.1%} to {row['high']:+.1%})" if known else ""
        cells = [row["data"], row["student"], row["arm"], counted(row), f"{row['ndcg@20']:.4f}", gain]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" + NOTE


def fidelity_table(rows: Sequence[dict[str, Any]]) -> str:
    names = ("samples", "pairs", *FIDELITY)
    lines = [f"| data | arm | kind | {' | '.join(name.replace('_', ' ') for name in names)} |"]
    lines.append("|---|---|---|" + "---:|" * len(names))
    for row in rows:
        cells = [_cell(name, row[name]) for name in names]
        lines.append(f"| {row['data']} | {row['arm']} | {row['kind']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if name in FIDELITY else f"{value:.0f}"


def main(
    places: list[Path] = typer.Argument(..., help="Folders of runs, or recipes."),  # noqa: B008
    made: str = typer.Option("", help="Classics, each with a style or with its first; all that serve the split."),
    output: Path = typer.Option(Path("runs") / "classics", "--output", "-o"),  # noqa: B008
    overrides: list[str] = typer.Option([], "--set", metavar="KEY=VALUE"),  # noqa: B008
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    entries = [entry for entry in made.split(",") if entry]
    for name, _, style in (entry.partition("/") for entry in entries):
        load_classic(name, **({"style": style} if style else {}))
    scores: list[dict[str, Any]] = []
    fidelity: list[dict[str, Any]] = []
    for place in places:
        ours = bench(place, output, overrides)
        for rows, found in zip((scores, fidelity), ours.rows(entries), strict=True):
            rows += [{"data": ours.root.name, **row} for row in found]
    if as_json:
        print_json({"scores": scores, "fidelity": fidelity})
    else:
        print_page("Classics beside the funnel and the LLM", scores_table(scores) + "\n" + fidelity_table(fidelity))


if __name__ == "__main__":
    start(main)
