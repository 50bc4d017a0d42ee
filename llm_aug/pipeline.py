"""The stages in order, a table of contents: a recipe and folders in, one folder out, done once.

prepare -> split -> finetune -> ask, interactions -> filter_samples -> evaluate -> report;  train -> recommend
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eval import arguments, cold_start
from eval.split import cut
from llm_aug import filters, sources
from llm_aug.backends import LLM, load_llm
from llm_aug.clean import CleanResult, clean, write_clean
from llm_aug.config import Recipe
from llm_aug.data import item_texts, read_dataset, read_split, write_split
from llm_aug.errors import InputError, ShortOfTarget, did_you_mean
from llm_aug.files import sha256_file
from llm_aug.generate import GenerateOptions, generate
from llm_aug.ingredients import (
    SIZES,
    answered_by,
    asked_for,
    content,
    filter_options,
    identity,
    judged,
    met,
    part,
    samples_file,
    source,
    split_content,
)
from llm_aug.learn import candidates_of, examples_of, finetune_options
from llm_aug.preview import shown
from llm_aug.sections import Engine
from llm_aug.simulate import GENERATORS, simulate
from llm_aug.sources.samples import read_samples
from llm_aug.stage import Outcome, check, once
from llm_aug.students import fit_and_save, write_lists
from llm_aug.tasks import TASKS, load_task
from llm_aug.vectors import Cached, load_encoder

JUDGED = "interactions"
ASKED = (*TASKS, JUDGED)


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
        result = clean(raw, recipe.clean)
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
        found = cut(read_dataset(data), replace(recipe.split, seed=recipe.seed))
        write_split(output, found)
        parts = {name: len(getattr(found, name)) for name in ("train", "validation", "test")}
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
    if "judge" in made["finetune"]["tasks"]:
        made |= {**met(recipe), **judged(recipe)}
    for name in TASKS:
        if name in made["finetune"]["tasks"]:
            made[name] = {**asked_for(recipe, name), "prompt": load_task(name, **recipe.task_options(name)).prompt_hash}

    def work() -> Outcome:
        from llm_aug.finetune import finetune as train_adapter

        found = read_split(split)
        training, validation = examples_of(recipe, found)
        result = train_adapter(training, validation, options, output, found.hash)
        line = f"{len(training)} examples = {result.examples} used + {result.dropped} too long; {result.steps} steps"
        if result.validation_after is not None:
            line += f", validation loss {result.validation_before:.3f} -> {result.validation_after:.3f}"
        counts = {key: value for key, value in asdict(result).items() if key not in ("adapter", "curve", "reused")}
        return Outcome(line, counts)

    return once(output, "finetune", made, work, marks_start=False)


def ask(recipe: Recipe, name: str, split: Path, adapter: Path | None, output: Path) -> Outcome:
    """A task's samples, written by the model."""
    asked = recipe.asked(name)
    task = load_task(name, **recipe.task_options(name))
    size = {key: value for key, value in asked.options.items() if key in SIZES}
    made = {
        "split": split_content(split),
        **answered_by(recipe, adapter),
        **asked_for(recipe, name),
        "prompt": task.prompt_hash,
        "sampling": asdict(asked.sampling),
        "seed": recipe.seed,
    }

    def work() -> Outcome:
        found = read_split(split)
        options = GenerateOptions(
            sampling=asked.sampling,
            seed=recipe.seed,
            split_hash=found.hash,
            stall_seconds=recipe.engine.stall_seconds,
        )
        result = generate(task, found.training, _llm(recipe.model, adapter, recipe.engine), options, output)
        return _answered(recipe, str(result), asdict(result))

    return once(output, name, made, work, size=size)


def preview(recipe: Recipe, name: str, split: Path, adapter: Path | None, count: int) -> Iterator[str]:
    """What `ask` would make of the first few subjects, in words; nothing is kept."""
    if name not in TASKS:
        raise InputError(f"no task {name!r} to preview; {did_you_mean(name, TASKS)}")
    found = read_split(split)
    task = load_task(name, **{**recipe.task_options(name), "limit": count})
    options = GenerateOptions(sampling=recipe.asked(name).sampling, seed=recipe.seed, split_hash=found.hash)
    encoder = load_encoder(recipe.encoder, item_texts(found.training))
    with TemporaryDirectory(prefix="llm-aug-preview-") as folder:
        with suppress(ShortOfTarget):  # its answers are all the more worth seeing
            generate(task, found.training, _llm(recipe.model, adapter, recipe.engine), options, Path(folder))
        yield from shown(task, found.training, Path(folder), encoder, filter_options(recipe))


def interactions(recipe: Recipe, generator: str, split: Path, adapter: Path | None, output: Path) -> Outcome:
    """Users for cold items: graded by the model (llm), by the funnel alone, or drawn (`controls`)."""
    if generator not in GENERATORS:
        raise InputError(f"no generator {generator!r}; {did_you_mean(generator, GENERATORS)}")
    made = {"generator": generator, "split": split_content(split), **met(recipe), "seed": recipe.seed}
    if generator == "llm":
        made |= {**judged(recipe), **answered_by(recipe, adapter)}

    def work() -> Outcome:
        found = read_split(split)
        candidates = candidates_of(recipe, found)
        patience = recipe.engine.stall_seconds
        options = replace(recipe.interactions, seed=recipe.seed, split_hash=found.hash, stall_seconds=patience)
        llm = _llm(recipe.model, adapter, recipe.engine) if generator == "llm" else None
        result = simulate(generator, candidates, found.training, output, options, llm)
        return _answered(recipe, str(result), {key: value for key, value in asdict(result).items() if key != "auc"})

    return once(output, f"interactions by {generator}", made, work)


@dataclass(frozen=True)
class Wanted:
    """What stands on a command line: a task for a model, or a generator without one."""

    task: str | None
    generator: str | None


def generate_samples(recipe: Recipe, wanted: Wanted, split: Path, adapter: Path | None, output: Path) -> Outcome:
    if (wanted.task is None) == (wanted.generator is None):
        raise InputError(f"name a --task ({', '.join(ASKED)}), or else a --generator ({', '.join(GENERATORS[1:])})")
    if wanted.generator is not None:
        return interactions(recipe, wanted.generator, split, adapter, output)
    if wanted.task is None or wanted.task not in ASKED:
        raise InputError(f"no task {wanted.task!r}; {did_you_mean(str(wanted.task), ASKED)}")
    if wanted.task == JUDGED:
        return interactions(recipe, "llm", split, adapter, output)
    return ask(recipe, wanted.task, split, adapter, output)


def filter_samples(recipe: Recipe, samples: Path, split: Path, output: Path) -> Outcome:
    """Samples -> kept.parquet and dropped.parquet, each drop with its reason."""
    options = filter_options(recipe)
    made = {
        "samples": content(samples_file(samples)),
        "split": split_content(split),
        "encoder": identity(recipe.encoder),
        "filter": options,
    }

    def work() -> Outcome:
        training = read_split(split).training
        encoder = Cached(load_encoder(recipe.encoder, item_texts(training)))
        result = filters.run(read_samples(samples), training, encoder, options)
        result.write(output)
        if not result.kept:
            raise ShortOfTarget(f"no sample of {samples} was kept: {result}; see {output}/dropped.parquet")
        return Outcome(str(result), {**result.summary()["counts"], "reasons": result.reasons})

    return once(output, "filter", made, work)


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
        read = arguments.read_arms(arms, found)
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


def report(scores: Sequence[Path], output: Path, title: str, run: Path | None = None) -> Path:
    """One self-contained page from evaluated folders; returns its path."""
    from eval.report import write_report

    for folder in scores:
        if not (folder / "per_user.parquet").is_file():
            raise InputError(f"{folder} holds no scores (no per_user.parquet); make them with `llm-aug evaluate`")
        check(folder)
    write_report(output, title, scores, run)
    return output if output.suffix == ".html" else output / "report.html"


@lru_cache(maxsize=1)
def _llm(name: str, adapter: Path | None, engine: Engine) -> LLM:
    """The model of the last stage stays loaded for the next."""
    return load_llm(name, adapter, engine.device, engine.dtype, engine.trust_remote_code, engine.batch_tokens)


def _answered(recipe: Recipe, line: str, counts: Mapping[str, Any]) -> Outcome:
    """Raises ShortOfTarget where more requests failed than the recipe allows: a second run asks them again."""
    if counts["failed"] > recipe.failed_share * counts["asked"]:
        raise ShortOfTarget(
            f"{counts['failed']} of {counts['asked']} requests failed: {line}; what succeeded is written, "
            "run again to retry the others"
        )
    return Outcome(line, counts)


def _cleaned(result: CleanResult) -> str:
    parts = []
    for table in result.counts.values():
        dropped = table["dropped"]
        reasons = ", ".join(f"{reason}: {count}" for reason, count in dropped.items())
        gone = f" + {sum(dropped.values())} dropped ({reasons})" if dropped else ""
        parts.append(f"{table['file']}: {table['read']} read = {table['kept']} kept{gone}")
    return "; ".join(parts)
