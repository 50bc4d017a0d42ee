"""What a model learns from: candidate pairs (cached, since they cost two trained towers) and the tasks' examples."""

from __future__ import annotations

from dataclasses import asdict, replace

from llm_aug import seeds
from llm_aug.answers import say
from llm_aug.candidates import Candidates, find_candidates, read_candidates
from llm_aug.config import Recipe
from llm_aug.data import Example, Split
from llm_aug.errors import InputError
from llm_aug.files import fingerprint
from llm_aug.finetune_options import FinetuneOptions
from llm_aug.generate import dataset_hash
from llm_aug.ingredients import identity
from llm_aug.simulate import judge_examples
from llm_aug.tasks import load_task
from llm_aug.vectors import cache_folder

VALIDATION_SHARE = 0.1
_ELSEWHERE = ("model", "seed", "device", "trust_remote_code", "stall_minutes")  # what the recipe says for all stages


def candidates_of(recipe: Recipe, split: Split) -> Candidates:
    """The funnel's candidates for the split's cold items, from the cache where the same were found before."""
    options = replace(recipe.funnel, seed=recipe.seed)
    training = split.training
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

    say("funnel: fitting the spaces in which users meet cold items")
    found = find_candidates(training, spaces(recipe.encoder, recipe.seed), options)
    found.write(folder)
    return found


def examples_of(recipe: Recipe, split: Split) -> tuple[list[Example], list[Example]]:
    """Training and validation examples of all tasks to be learnt, in a seeded order. Raises InputError on none."""
    assert recipe.finetune is not None
    training: list[Example] = []
    validation: list[Example] = []
    for task in dict.fromkeys(recipe.finetune.tasks):
        learn, hold = _judge_examples(recipe, split) if task == "judge" else _task_examples(recipe, split, task)
        if not learn:
            why = f": {_WHY[task]}" if task in _WHY else ""
            raise InputError(f"task {task!r} finds no example in this split{why}; leave it out of finetune")
        training += learn
        validation += hold
    order = seeds.generator(recipe.seed, "finetune", "mix").permutation(len(training))[: recipe.finetune.limit]
    return [training[place] for place in order], validation


_WHY = {
    "judge": "no user has a pseudo-cold item among his candidates",
    "rewrite": "no item has what this style starts from (a long enough description, or values that items share)",
}


def finetune_options(recipe: Recipe) -> FinetuneOptions:
    if recipe.finetune is None:
        raise InputError("finetune is null in this recipe: there is nothing to train")
    given = recipe.finetune.model_dump(exclude={"tasks", "limit", *_ELSEWHERE})
    return FinetuneOptions(
        **given,
        model=recipe.model,
        seed=recipe.seed,
        device="cpu" if recipe.engine.device == "cpu" else "auto",
        trust_remote_code=recipe.engine.trust_remote_code,
        stall_minutes=recipe.engine.stall_minutes,
    )


def _judge_examples(recipe: Recipe, split: Split) -> tuple[list[Example], list[Example]]:
    return judge_examples(candidates_of(recipe, split), recipe.interactions.judge, recipe.seed, VALIDATION_SHARE)


def _task_examples(recipe: Recipe, split: Split, name: str) -> tuple[list[Example], list[Example]]:
    examples = list(load_task(name, **recipe.task_options(name)).examples(split.training))
    order = seeds.generator(recipe.seed, name, "held out").permutation(len(examples))
    cut = round(VALIDATION_SHARE * len(examples))
    return [examples[place] for place in order[cut:]], [examples[place] for place in order[:cut]]
