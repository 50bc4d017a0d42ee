"""The stages in order, a table of contents: a recipe and folders in, one folder out, done once.

prepare -> split -> tune_encoder, finetune -> generate_samples -> filter_samples -> evaluate -> report;
train -> recommend
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eval import arguments, cold_start
from eval.split import cut
from llm_aug import filters, sources
from llm_aug.answers import say
from llm_aug.chosen import joined, renamed
from llm_aug.clean import CleanResult, clean, write_clean
from llm_aug.config import Recipe
from llm_aug.data import Dataset, Sample
from llm_aug.encoding import encode_ahead, encoder_of
from llm_aug.errors import InputError, ShortOfTarget
from llm_aug.files import sha256_file
from llm_aug.filters import explain
from llm_aug.finetune_record import catalogue_hash
from llm_aug.generators import Wanted as Wanted
from llm_aug.generators import ask as ask
from llm_aug.generators import classic as classic
from llm_aug.generators import controls as controls
from llm_aug.generators import generate_samples as generate_samples
from llm_aug.generators import interactions as interactions
from llm_aug.ingredients import (
    content,
    filter_options,
    identity,
    part,
    samples_file,
    source,
    split_content,
)
from llm_aug.learn import examples_of, finetune_options, learnt, shown_to
from llm_aug.learn import tune_encoder as write_tuned_encoder
from llm_aug.preview import preview as preview
from llm_aug.seen import hashes_of, read_seen, write_seen
from llm_aug.sources.samples import read_samples, store_samples
from llm_aug.splits import read_split, write_split
from llm_aug.stage import Outcome, check, once, read_mark
from llm_aug.stored import StoredDataset, read_training
from llm_aug.students import fit_and_save, write_lists, write_lists_of_events
from llm_aug.tidy import read_interactions, read_item_ids
from llm_aug.tuned_encoder import check_encoder


def prepare(recipe: Recipe, output: Path) -> Outcome:
    """The source of the recipe -> output/{items,interactions}.parquet and what was dropped and why."""
    if recipe.data is None:
        raise InputError("data.source is missing: name the folder or file to read")
    raw = sources.read(source(recipe.data.source), recipe.data.columns, recipe.data.format)
    made = {
        "files": {path.name: sha256_file(path) for path in raw.files},
        "columns": recipe.data.columns,
        "clean": recipe.section("clean"),
    }

    def work() -> Outcome:
        result = clean(raw, recipe.clean, output)
        write_clean(output, result)
        return Outcome(_cleaned(result), result.counts)

    return once(output, "prepare", made, work)


def split(recipe: Recipe, data: Path, output: Path) -> Outcome:
    """What `prepare` wrote -> train, validation and test with cold items or users."""
    check(data)
    made = {
        "data": content(data / "items.parquet", data / "interactions.parquet"),
        "split": recipe.section("split"),
        "seed": recipe.seed,
    }

    def work() -> Outcome:
        path, log = data / "items.parquet", read_interactions(data / "interactions.parquet")
        found = cut(Dataset(read_item_ids(path), log), replace(recipe.split, seed=recipe.seed))
        write_split(output, found, StoredDataset(path, log, output))
        parts = {name: len(rows) for name, rows in found.parts.items()}
        shared = " + ".join(f"{count} {name}" for name, count in parts.items())
        cold = {"cold_items": len(found.cold_items), "cold_users": len(found.cold_users)}
        line = f"{sum(parts.values())} pairs = {shared}; {' and '.join(f'{n} {k}' for k, n in cold.items())}"
        return Outcome(line.replace("_", " "), {**parts, **cold, "hash": found.hash})

    return once(output, "split", made, work)


def finetune(recipe: Recipe, split: Path, output: Path) -> Outcome:
    """The tasks' own examples of the training data -> an adapter."""
    options = finetune_options(recipe)
    made: dict[str, Any] = {"split": split_content(split), "model": identity(recipe.model), "seed": recipe.seed}
    made["finetune"] = part(recipe, "finetune", "save_steps", "gradient_checkpointing")
    made["learnt"] = learnt(recipe)

    def work() -> Outcome:
        from llm_aug.finetune import finetune as train_adapter

        found = read_split(split)
        training, validation = examples_of(recipe, found)
        catalogue = catalogue_hash(found.items["item_id"])
        seen = shown_to(recipe, found)
        result = train_adapter(training, validation, options, output, found.hash, catalogue, seen)
        line = f"{len(training)} examples = {result.examples} used + {result.dropped} too long; {result.steps} steps"
        if result.validation_after is not None:
            line += f", validation loss {result.validation_before:.3f} -> {result.validation_after:.3f}"
        counts = {key: value for key, value in asdict(result).items() if key not in ("adapter", "curve", "reused")}
        return Outcome(line, counts)

    return once(output, "finetune", made, work, marks_start=False)


def tune_encoder(recipe: Recipe, split: Path, output: Path) -> Outcome:
    """The recipe's text encoder, its last layers tuned on the training data -> a folder that `encoder` may name."""
    if recipe.encoder_tuning is None:
        raise InputError("encoder_tuning is null in this recipe: there is nothing to tune")
    made = {
        "split": split_content(split),
        "encoder": identity(recipe.encoder),
        "encoder_tuning": recipe.section("encoder_tuning"),
        "pseudo_fraction": recipe.funnel.pseudo_fraction,
        "seed": recipe.seed,
    }

    def work() -> Outcome:
        record = write_tuned_encoder(recipe, read_split(split), output)
        line = f"{record['pairs']} pairs of {record['items']} items, {record['steps']} steps"
        if record["loss_before"] is not None:
            change = f"{record['loss_before']:.3f} -> {record['loss_after']:.3f}"
            line += f"; loss on {record['held_out_items']} held-out items {change}"
        return Outcome(line, record)

    return once(output, "tune_encoder", made, work)


def filter_samples(recipe: Recipe, samples: Path, split: Path, output: Path) -> Outcome:
    """Samples -> kept.parquet and dropped.parquet, each drop with its reason."""
    options = filter_options(recipe)
    del options["repeat"]["against"]  # which goes by content, not by place
    made: dict[str, Any] = {
        "samples": content(samples_file(samples)),
        "split": split_content(split),
        "encoder": identity(recipe.encoder),
        "filter": options,
    }
    earlier = _kept_before(recipe)
    if earlier:
        made["against"] = [content(samples_file(path)) for path in earlier]

    def work() -> Outcome:
        training, seen = read_training(split, output, log=False)[1], read_seen(samples)
        result = _judged(recipe, samples, training, output)
        write_seen(output, hashes_of(training), *([] if seen is None else [seen]))
        result.write(output)
        for line in result.told():
            say(line)
        if not result.kept:
            raise ShortOfTarget(f"no sample of {samples} was kept: {result}; see {output}/dropped.parquet")
        return Outcome(str(result), {**result.counts, "reasons": result.reasons})

    return once(output, "filter", made, work)


def explain_sample(recipe: Recipe, samples: Path, split: Path, sample_id: str, output: Path | None = None) -> str:
    """Why the filter kept or dropped one sample: as output has it where that is done, else judged anew, unwritten.

    Raises InputError where no sample has this id, or where output holds the verdicts on other samples.
    """
    training = read_split(split).training
    mark = read_mark(output) if output is not None else None
    if output is None or mark is None or mark["state"] != "done":
        with TemporaryDirectory() as folder:
            found = explain.from_result(_judged(recipe, samples, training, Path(folder)), sample_id)
        return explain.shown(found, training)
    check(output)
    made = mark["recipe"] if mark["stage"] == "filter" else {}
    of = {"samples": content(samples_file(samples)), "split": split_content(split)}
    if any(made.get(name) != value for name, value in of.items()):
        raise InputError(f"{output} is no filter of {samples} and {split}; leave out --output to judge anew")
    return explain.shown(explain.from_folder(output, sample_id, _earlier(recipe, read_samples)), training)


def _judged(recipe: Recipe, samples: Path, training: Dataset, folder: Path) -> filters.FilterResult:
    """folder: on whose disk the samples lie as long as the result is used."""
    encoder = encoder_of(recipe, training)
    earlier = _earlier(recipe, lambda path: store_samples(path, folder))
    return filters.run(store_samples(samples, folder), training, encoder, filter_options(recipe), earlier)


def _earlier(recipe: Recipe, read: Callable[[Path], Sequence[Sample]]) -> Sequence[Sample]:
    """What earlier runs kept, under ids such as earlier-1/ID: keys do not tell runs apart, and another run's sample
    under the same key is another sample."""
    return joined([renamed(read(path), f"earlier-{number}/") for number, path in enumerate(_kept_before(recipe), 1)])


def _kept_before(recipe: Recipe) -> list[Path]:
    """What earlier runs kept, which new samples may not repeat."""
    return [Path(place) for place in recipe.section("filter")["repeat"]["against"]]


def evaluate(recipe: Recipe, arms: arguments.ArmPaths, split: Path, output: Path) -> Outcome:
    """Every student on real data, on each arm and on the A/A arm -> metrics, comparisons and a verdict."""
    made = {
        "arms": {name: [content(samples_file(path)) for path in paths] for name, paths in arms.items()},
        "split": split_content(split),
        "evaluate": recipe.section("evaluate"),
        "encoder": identity(recipe.encoder),
    }

    def work() -> Outcome:
        found = read_split(split)
        check_encoder(recipe.encoder, found)
        read = arguments.read_arms(arms, found)
        encode_ahead(recipe, found.training)
        cold_start.evaluate(found, read, replace(recipe.evaluate, encoder=recipe.encoder), output)
        counts = {"students": len(recipe.evaluate.students), "arms": len(read) + 1, "seeds": len(recipe.evaluate.seeds)}
        return Outcome(" x ".join(f"{count} {name}" for name, count in counts.items()) + " evaluated", counts)

    return once(output, "evaluate", made, work)


def train(
    split: Path, synthetic: Sequence[Path], student: str, options: Mapping[str, Any], seed: int, output: Path
) -> Outcome:
    """One recommender on real data and samples -> output/{arrays.npz, model.json}."""
    made = {
        "split": split_content(split),
        "synthetic": [content(samples_file(path)) for path in synthetic],
        "student": student,
        "options": options,
        "seed": seed,
    }
    return once(output, "train", made, lambda: fit_and_save(split, synthetic, student, options, seed, output))


def recommend(model: Path, users: Sequence[str], k: int, output: Path) -> None:
    """What `train` wrote -> the k best unseen items of each user as one parquet file."""
    write_lists(model, users, k, output)


def recommend_events(model: Path, events: Path, k: int, output: Path) -> None:
    """The same for the users of a file of events, each by these alone, without fitting again."""
    write_lists_of_events(model, events, k, output)


def report(scores: Sequence[Path], output: Path, title: str, run: Path | None = None) -> Path:
    """One self-contained page from evaluated folders; returns its path."""
    from eval.report import write_report

    for folder in scores:
        if not (folder / "per_user.parquet").is_file():
            raise InputError(f"{folder} holds no scores (no per_user.parquet); make them with `llm-aug evaluate`")
        check(folder)
    write_report(output, title, scores, run)
    return output if output.suffix == ".html" else output / "report.html"


def _cleaned(result: CleanResult) -> str:
    parts = []
    for table in result.counts.values():
        dropped = table["dropped"]
        reasons = ", ".join(f"{reason}: {count}" for reason, count in dropped.items())
        gone = f" + {sum(dropped.values())} dropped ({reasons})" if dropped else ""
        parts.append(f"{table['file']}: {table['read']} read = {table['kept']} kept{gone}")
    return "; ".join(parts)
