"""Whatever makes samples, as one stage: a task put to a model, judged pairs, and what needs no model at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from llm_aug.answers import say
from llm_aug.backends import LLM, load_llm
from llm_aug.backends.spending import metered
from llm_aug.classics import CLASSICS, TEXTS, Context
from llm_aug.classics.budgets import Volume, funnel_volume, volume_of
from llm_aug.classics.log import canonical
from llm_aug.classics.making import CHECKPOINTS, options_of, write_classic
from llm_aug.config import Recipe
from llm_aug.controls import SHUFFLED_TEXTS, other_texts
from llm_aug.data import Dataset, Split, item_texts
from llm_aug.encoding import encoder_of
from llm_aug.errors import InputError, ShortOfTarget, did_you_mean
from llm_aug.files import fingerprint, write_parquet
from llm_aug.finetune_record import tuned_on
from llm_aug.generate import GenerateOptions, generate
from llm_aug.ingredients import (
    SIZES,
    answered_by,
    asked_for,
    content,
    identity,
    judged,
    met,
    samples_file,
    split_content,
)
from llm_aug.item_controls import ITEM_CONTROLS, as_many_as, of_few_events, write_controls
from llm_aug.learn import candidates_of
from llm_aug.sections import Engine
from llm_aug.seen import NOTHING, hashes_of, leak, read_seen, write_seen
from llm_aug.similar_reviews import similar_reviews
from llm_aug.simulate import GENERATORS, simulate
from llm_aug.sources.samples import FILES, read_samples
from llm_aug.splits import read_split
from llm_aug.stage import Outcome, once
from llm_aug.stored import read_training
from llm_aug.tables import samples_table
from llm_aug.tasks import TASKS, load_task, reads_interactions
from llm_aug.vectors import Vectors

ASKED = (*TASKS, "interactions")
SIMILAR = "similar-reviews"
UNASKED = (*GENERATORS[1:], *ITEM_CONTROLS, SIMILAR, SHUFFLED_TEXTS, *CLASSICS)


@dataclass(frozen=True)
class Wanted:
    """What stands on a command line: a task for a model, or a generator without one. source: samples to go by."""

    task: str | None
    generator: str | None
    source: Path | None = None


def generate_samples(recipe: Recipe, wanted: Wanted, split: Path, adapter: Path | None, output: Path) -> Outcome:
    if (wanted.task is None) == (wanted.generator is None):
        raise InputError(f"name a --task ({', '.join(ASKED)}), or else a --generator ({', '.join(UNASKED)})")
    if wanted.task is not None and wanted.task not in ASKED:
        raise InputError(f"no task {wanted.task!r}; {did_you_mean(wanted.task, ASKED)}")
    if wanted.generator is not None and wanted.generator not in UNASKED:
        raise InputError(f"no generator {wanted.generator!r}; {did_you_mean(wanted.generator, UNASKED)}")
    if wanted.generator in ITEM_CONTROLS:
        return controls(recipe, wanted.generator, split, wanted.source, output)
    if wanted.generator in CLASSICS:
        return classic(recipe, wanted.generator, split, wanted.source, output)
    if wanted.generator == SIMILAR:
        return similar(recipe, split, wanted.source, output)
    if wanted.generator == SHUFFLED_TEXTS:
        return shuffled_texts(recipe, split, wanted.source, output)
    if wanted.task in TASKS:
        return ask(recipe, wanted.task, split, adapter, output, wanted.source)
    if wanted.source is not None:
        raise InputError(
            f"{wanted.task or wanted.generator} goes by no other samples: leave out --from {wanted.source}"
        )
    return interactions(recipe, wanted.generator or "llm", split, adapter, output)


def ask(
    recipe: Recipe, name: str, split: Path, adapter: Path | None, output: Path, source: Path | None = None
) -> Outcome:
    """A task's samples, written by the model. source: profiles, for histories of invented users."""
    asked = recipe.asked(name)
    task = load_task(name, **{**recipe.task_options(name), **_seeded_by(name, source)})
    size = {key: value for key, value in asked.options.items() if key in SIZES}
    size |= {"tries": asked.tries} if asked.tries > 1 else {}
    made = {
        "split": split_content(split),
        **answered_by(recipe, adapter),
        **asked_for(recipe, name),
        **({} if source is None else {"from": content(samples_file(source))}),
        "prompt": task.prompt_hash,
        "sampling": asdict(asked.sampling),
        "seed": recipe.seed,
    }

    def work() -> Outcome:
        found, training = read_training(split, output, reads_interactions(task))
        options = GenerateOptions(
            sampling=asked.sampling,
            seed=recipe.seed,
            split_hash=found.hash,
            tries=asked.tries,
            stall_seconds=recipe.engine.stall_seconds,
            chunk=GenerateOptions.chunk * (recipe.engine.ray_workers or 1),
        )
        tuned = _tuned(adapter, found)
        llm = llm_of(recipe.model, adapter, recipe.engine)
        _record(output, found, adapter, source, log=reads_interactions(task))
        with metered(output, llm) as usage:
            result = generate(task, training, llm, options, output)
        return _answered(recipe, str(result), {**asdict(result), **tuned, **usage})

    return once(output, name, made, work, size=size)


def _seeded_by(task: str, source: Path | None) -> dict[str, Any]:
    """What of other samples a task takes as an option."""
    if source is None:
        return {}
    if task != "history":
        raise InputError(f"{task} goes by no other samples: leave out --from {source}")
    texts = tuple(sample.text for sample in read_samples(source) if sample.kind == "profile" and sample.text)
    if not texts:
        raise InputError(
            f"{source} holds no profiles for a history to begin with; `generate --task profile` makes some"
        )
    return {"profiles": texts}


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
        tuned = _tuned(adapter, found) if generator == "llm" else {}
        llm = llm_of(recipe.model, adapter, recipe.engine) if generator == "llm" else None
        _record(output, found, adapter if generator == "llm" else None)
        with metered(output, llm) as usage:
            result = simulate(generator, candidates, found.training, output, options, llm)
        counts = {key: value for key, value in asdict(result).items() if key != "auc"}
        return _answered(recipe, str(result), {**counts, **tuned, **usage})

    return once(output, f"interactions by {generator}", made, work)


def controls(recipe: Recipe, control: str, split: Path, source: Path | None, output: Path) -> Outcome:
    """Items for users by a rule: as many as source has for each, or as many as a history would be asked for."""
    options = recipe.task_options("history")
    few = {name: options[name] for name in ("users_with_at_most", "events")}
    made: dict[str, Any] = {"generator": control, "split": split_content(split), "seed": recipe.seed}
    if source is None:
        made |= few
    else:
        made["from"] = content(samples_file(source))
    if control == "similar-items":
        made["encoder"] = identity(recipe.encoder)

    def work() -> Outcome:
        found = read_split(split)
        wanted = of_few_events(found.training, **few) if source is None else as_many_as(read_samples(source))
        encoder = encoder_of(recipe, found.training) if "encoder" in made else None
        _record(output, found, source)
        result = write_controls(control, wanted, found.training, output, encoder, recipe.seed, found.hash)
        return Outcome(str(result), asdict(result))

    return once(output, control, made, work)


def similar(recipe: Recipe, split: Path, source: Path | None, output: Path) -> Outcome:
    """Pairs of users who wrote alike of two items, in the log and in the reviews of source."""
    made = {"generator": SIMILAR, "split": split_content(split), "encoder": identity(recipe.encoder)}
    if source is not None:
        made["from"] = content(samples_file(source))

    def work() -> Outcome:
        found = read_split(split)
        reviews = read_samples(source) if source is not None else []
        encoder = encoder_of(recipe, found.training)
        _record(output, found, source)
        result = similar_reviews(found.training, reviews, encoder, output, split_hash=found.hash)
        return Outcome(str(result), asdict(result))

    return once(output, SIMILAR, made, work)


def shuffled_texts(recipe: Recipe, split: Path, source: Path | None, output: Path) -> Outcome:
    """The texts of source on the wrong items, as kept.parquet: a filter, which kept them, would now drop them all."""
    if source is None:
        raise InputError(f"{SHUFFLED_TEXTS} are those of other samples: name them with --from KEPT")
    made = {"split": split_content(split), "from": content(samples_file(source)), "seed": recipe.seed}

    def work() -> Outcome:
        texts = other_texts(read_samples(source), recipe.seed)
        write_parquet(output / FILES[0], samples_table(texts))
        if (seen := read_seen(source)) is not None:
            write_seen(output, seen)
        return Outcome(f"{len(texts)} texts given to other items", {"asked": len(texts), "parsed": len(texts)})

    return once(output, SHUFFLED_TEXTS, made, work)


def classic(recipe: Recipe, name: str, split: Path, source: Path | None, output: Path) -> Outcome:
    """As many pairs, or texts, as source has; or as a history, for style histories and of cold users, or the funnel."""
    maker, options = recipe.classic(name), recipe.task_options("history")
    few = {key: options[key] for key in ("users_with_at_most", "events")}
    made: dict[str, Any] = {"generator": name, "options": options_of(maker), "split": split_content(split)}
    made |= {"encoder": identity(recipe.encoder), "seed": recipe.seed}
    made |= {**few, "funnel": recipe.section("funnel")} if source is None else {"from": content(samples_file(source))}

    def work() -> Outcome:
        found = read_split(split)
        training = canonical(found.training)
        if source is not None:
            volume = volume_of(maker.style, read_samples(source))
        elif maker.style in TEXTS:
            volume = Volume(len(training.items))
        elif found.by_users or maker.style == "histories":
            users = of_few_events(training, **few)
            volume = Volume(sum(users.values()), users)
        else:
            volume = funnel_volume(training, recipe.funnel)
        folder = output / CHECKPOINTS / fingerprint(made)
        vectors = partial(_vectors, recipe, training)
        context = Context(volume.total, recipe.seed, folder, vectors, volume.users, output)
        _record(output, found, source)
        result = write_classic(name, maker, training, context, output, found.hash)
        return Outcome(str(result), asdict(result))

    return once(output, f"{name}/{maker.style}", made, work)


def _vectors(recipe: Recipe, training: Dataset) -> Vectors:
    return encoder_of(recipe, training).encode(item_texts(training))


def _record(output: Path, split: Split, *sources: Path | None, log: bool = True) -> None:
    """What the samples may tell of, before there are any: the log, and what an adapter or other samples have seen."""
    earlier = [seen for place in sources if place is not None and (seen := read_seen(place)) is not None]
    write_seen(output, hashes_of(split.training) if log else NOTHING, *earlier)


@lru_cache(maxsize=1)
def llm_of(name: str, adapter: Path | None, engine: Engine) -> LLM:
    """The model of the last stage stays loaded for the next."""
    how = (engine.device, engine.dtype, engine.trust_remote_code, engine.batch_tokens)
    return load_llm(name, adapter, *how, cluster=engine.cluster, server=engine.server, extra=engine.extra)


def _tuned(adapter: Path | None, split: Split) -> dict[str, str]:
    """What the adapter was tuned on, said at once and kept in the stage's mark; the recipe has its hash alone."""
    if adapter is None:
        return {}
    words = tuned_on(adapter, split)
    say(f"adapter {adapter}: tuned on {words}")
    seen = read_seen(adapter)
    if seen is None:
        say(f"adapter {adapter}: has no record of its examples, so nobody can tell if held-out rows were among them")
    elif told := leak(split, seen):
        say(f"adapter {adapter}: has learnt from {told}; `evaluate` refuses what it makes")
    return {"adapter_tuned_on": words}


def _answered(recipe: Recipe, line: str, counts: Mapping[str, Any]) -> Outcome:
    """Raises ShortOfTarget where more requests failed than the recipe allows: a second run asks them again."""
    if counts["failed"] > recipe.failed_share * counts["asked"]:
        raise ShortOfTarget(
            f"{counts['failed']} of {counts['asked']} requests failed: {line}; what succeeded is written, "
            "run again to retry the others"
        )
    return Outcome(line, counts)
