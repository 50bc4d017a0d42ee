"""What a model learns from: candidate pairs (cached, since they cost two trained towers) and the tasks' examples."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from llm_aug import seeds
from llm_aug.answers import say
from llm_aug.candidates import Candidates, find_candidates, play_cold, read_candidates
from llm_aug.config import Recipe
from llm_aug.data import Dataset, Example, Split
from llm_aug.encoding import encode_ahead
from llm_aug.errors import InputError
from llm_aug.files import fingerprint, write_json
from llm_aug.finetune_options import FinetuneOptions
from llm_aug.finetune_record import catalogue_hash
from llm_aug.generate import dataset_hash
from llm_aug.ingredients import asked_for, identity, met
from llm_aug.seen import NOTHING, Hashes, hashes_of
from llm_aug.simulate import judge_examples
from llm_aug.tasks import Task, load_task, reads_interactions
from llm_aug.tasks.judge import Judge
from llm_aug.tuned_encoder import TUNING_RECORD, check_encoder
from llm_aug.vectors import cache_folder

VALIDATION_SHARE = 0.1
_ELSEWHERE = ("model", "seed", "device", "trust_remote_code", "stall_minutes")  # what the recipe says for all stages


def candidates_of(recipe: Recipe, split: Split) -> Candidates:
    """The funnel's candidates for the split's cold items, from the cache where the same were found before.

    Raises InputError for an encoder that was tuned on what is held out or played cold.
    """
    options = replace(recipe.funnel, seed=recipe.seed)
    training = split.training
    check_encoder(recipe.encoder, split, lambda: dataset_hash(_warm_log(recipe, training)))
    key = [split.hash, dataset_hash(training), identity(recipe.encoder), asdict(options)]
    folder = cache_folder() / "funnel" / fingerprint(key)
    try:
        found = read_candidates(folder, training)
    except InputError as error:
        say(f"funnel: {error}; found again")
        found = None
    if found is not None:
        return found
    from recommender.spaces import spaces

    encode_ahead(recipe, training)
    say("funnel: fitting the spaces in which users meet cold items")
    found = find_candidates(training, spaces(recipe.encoder, recipe.seed), options)
    found.write(folder)
    return found


def _warm_log(recipe: Recipe, training: Dataset) -> Dataset:
    """The log without the items that the funnel plays cold."""
    warm = np.asarray(training.items["item_id"].isin(training.interactions["item_id"]))
    return play_cold(training, warm, replace(recipe.funnel, seed=recipe.seed))[0]


def tune_encoder(recipe: Recipe, split: Split, output: Path) -> dict[str, Any]:
    """Writes the encoder, tuned on the log without the pseudo-cold items, whose pairs tell the loss before and after.

    So one encoder serves the cold items and those on which the funnel and the judge are fitted. Returns its record.
    """
    from recommender.encoder_tuning import tune_encoder as tune

    assert recipe.encoder_tuning is not None
    training = split.training
    known = _warm_log(recipe, training)
    tuned = tune(training, known, recipe.encoder, replace(recipe.encoder_tuning, seed=recipe.seed))
    tuned.write(output)
    record = {
        "split_hash": split.hash,
        "catalogue": catalogue_hash(split.items["item_id"]),
        "known": dataset_hash(known),
        "encoder": identity(recipe.encoder),
        **tuned.counts,
    }
    write_json(output / TUNING_RECORD, record)
    return record


def lessons(recipe: Recipe) -> dict[str, Judge | Task]:
    """What is to be learnt, by task/style, each once; an entry without a style has that of the task's section."""
    assert recipe.finetune is not None
    found: dict[str, Judge | Task] = {}
    for entry in recipe.finetune.tasks:
        task, _, style = entry.partition("/")
        if task == "judge":
            judge = recipe.interactions.judge
            judge = replace(judge, style=style or judge.style)
            found[f"judge/{judge.style}"] = judge
        else:
            options = recipe.task_options(task)
            options["style"] = style or options["style"]
            found[f"{task}/{options['style']}"] = load_task(task, **options)
    return found


def learnt(recipe: Recipe) -> dict[str, Any]:
    """What decides on the examples, by task/style."""
    found: dict[str, Any] = {}
    for name, lesson in lessons(recipe).items():
        task, _, style = name.partition("/")
        if isinstance(lesson, Judge):
            found[name] = {"options": asdict(lesson), **met(recipe), "prompt": lesson.prompt_hash}
        else:
            asked = asked_for(recipe, task)
            found[name] = {**asked, "options": {**asked["options"], "style": style}, "prompt": lesson.prompt_hash}
    return found


def examples_of(recipe: Recipe, split: Split) -> tuple[list[Example], list[Example]]:
    """Training and validation examples of all that is to be learnt, in a seeded order. Raises InputError on none."""
    assert recipe.finetune is not None
    training: list[Example] = []
    validation: list[Example] = []
    for name, lesson in lessons(recipe).items():
        task, _, style = name.partition("/")
        if isinstance(lesson, Judge):
            learn, hold = judge_examples(candidates_of(recipe, split), lesson, recipe.seed, VALIDATION_SHARE)
        else:
            learn, hold = _task_examples(recipe, split, task, lesson)
        if not learn:
            why = f": {_WHY[task]}" if task in _WHY else ""
            raise InputError(
                f"task {task!r} finds no example of style {style!r} in this split{why}; leave it out of finetune"
            )
        most = recipe.finetune.per_task  # both are in a drawn order
        training += learn[:most]
        validation += hold[: None if most is None else round(VALIDATION_SHARE * most)]
    order = seeds.generator(recipe.seed, "finetune", "mix").permutation(len(training))[: recipe.finetune.limit]
    return [training[place] for place in order], validation


def shown_to(recipe: Recipe, split: Split) -> Hashes:
    """The rows of which the examples may tell: all of the training log, or none where no lesson reads it."""
    reads = any(isinstance(one, Judge) or reads_interactions(one) for one in lessons(recipe).values())
    return hashes_of(split.training) if reads else NOTHING


_WHY = {
    "judge": "no user has a pseudo-cold item among his candidates",
    "review": "the log has neither reviews (prepare --column review=THEIRS) nor ratings, or no item has tags",
    "rewrite": "no item has what this style starts from (a long enough description, or values that items share)",
}


def finetune_options(recipe: Recipe) -> FinetuneOptions:
    if recipe.finetune is None:
        raise InputError("finetune is null in this recipe: there is nothing to train")
    given = recipe.finetune.model_dump(exclude={"tasks", "per_task", "limit", *_ELSEWHERE})
    return FinetuneOptions(
        **given,
        model=recipe.model,
        seed=recipe.seed,
        device="cpu" if recipe.engine.device == "cpu" else "auto",
        trust_remote_code=recipe.engine.trust_remote_code,
        stall_minutes=recipe.engine.stall_minutes,
    )


def _task_examples(recipe: Recipe, split: Split, name: str, task: Task) -> tuple[list[Example], list[Example]]:
    """Of two styles that teach by the same items, the same ones are held out."""
    examples = list(task.examples(split.training))
    order = seeds.generator(recipe.seed, name, "held out").permutation(len(examples))
    cut = round(VALIDATION_SHARE * len(examples))
    return [examples[place] for place in order[cut:]], [examples[place] for place in order[:cut]]
