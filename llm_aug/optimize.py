"""A better recipe by its score on validation: volume, filter thresholds, weight of synthetic pairs, and what is merged.

FOLDER/trials.json   {"made": {...}, "real": {...}, "trials": [{"number": 3, "options": {"funnel.per_item": 8, ...},
                      "arm": "funnel+llm", "weight": 0.5, "validation": 0.061, "failed": null, "seconds": 12.3}, ...]}
FOLDER/trials/003/   the run of one trial up to its filters; a stage that an earlier trial has done is linked from there
FOLDER/best.yaml     the recipe of the best trial, for `llm-aug run`

Test rows are taken off each split before anything is measured. What was found is the best of many looks at the same
validation rows, and so looks better than it is: only the verdict of a run of best.yaml says what it is worth.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from eval.arguments import checked_students
from eval.arms import REAL, Arm, read_arm
from eval.ranking import Held, held_out
from eval.search import propose
from eval.tuning import Choice, tune, with_encoder
from llm_aug import seeds
from llm_aug.answers import locked, say
from llm_aug.config import MIXES, Recipe, load_recipe
from llm_aug.controls import CONTROLS
from llm_aug.data import Split
from llm_aug.errors import InputError, ResumeRefused, ShortOfTarget
from llm_aug.files import read_json, temporary_for, write_json, write_text
from llm_aug.item_controls import ITEM_CONTROLS
from llm_aug.run import Step, parts_of, seed_folder, steps
from llm_aug.splits import read_split
from llm_aug.stage import read_mark

TRIALS, BEST = "trials.json", "best.yaml"
ARMS, WEIGHTS = "arms", "evaluate.synthetic_weights"
FUNNEL = ("funnel", "llm")  # parts whose volume the funnel sets
CHOICES: dict[str, tuple[Any, ...]] = {
    "funnel.per_item": (None, 4, 8, 16, 32),
    "funnel.per_user": (None, 5, 10, 20),
    "filter.pairs.floor": (None, 0.1, 0.2, 0.4),
    "filter.pairs.per_item": (None, 5, 10, 20),
    "filter.pairs.per_user": (None, 3, 5, 10),
    WEIGHTS: ([1.0], [0.5], [0.25], [0.1]),
}
CAUTION = (
    "Both are the best of several on the same validation rows, the second of many more: the gain is optimistic. "
    "What it is worth on test: llm-aug run"
)


@dataclass(frozen=True)
class Search:
    """What is searched: overrides of the recipe's file, the student whose NDCG@20 counts, and the seed of the draws."""

    path: Path
    overrides: Sequence[str]
    student: str
    seed: int

    def recipe(self, options: Mapping[str, Any]) -> Recipe:
        changes = [f"{name}={json.dumps(value)}" for name, value in options.items()]
        return load_recipe(self.path, [*self.overrides, *changes])


def optimize(search: Search, trials: int, output: Path) -> str:
    """Tries so many recipes, the given one first; writes the best and returns a table. Killed, the same call goes on.

    Raises ResumeRefused where output holds a search of another recipe, InputError where there is nothing to search
    or the student is unknown.
    """
    given = search.recipe({})
    checked_students({search.student: {}})
    space, default = search_space(given)
    made = {"recipe": given.resolved(), "student": search.student, "seed": search.seed}
    with locked(output):
        state = _state(output, made)
        while len(state["trials"]) < trials:
            tried = [(trial["options"], trial["validation"] or 0.0) for trial in state["trials"]]
            options = propose(space, default, tried, seeds.derive(search.seed, "optimize"))
            if options is None:
                break
            number = len(tried)
            say(f"optimize: trial {number + 1}/{trials}: {_told(options, default) or 'the recipe as given'}")
            state["trials"].append(_trial(number, search, options, state["real"], output))
            write_json(output / TRIALS, state)
        best = _best(state["trials"])
        write_text(output / BEST, _written(search, best))
        return _table(state, best, default, output)


def search_space(recipe: Recipe) -> tuple[dict[str, Sequence[Any]], dict[str, Any]]:
    """By dotted key the values to try, the recipe's own first; and the recipe as given.

    Arms: as given, each part that is no control, and each two of them. Raises InputError where all are controls.
    """
    own = [arm for arm in recipe.arms if not {*CONTROLS, *ITEM_CONTROLS}.intersection(parts_of(arm))]
    parts = {part for arm in own for part in parts_of(arm)}
    if not parts:
        raise InputError(f"arms are {', '.join(recipe.arms)}: controls alone; add one to improve, as funnel or llm")
    mixes = [mix for mix in MIXES if parts.issuperset(parts_of(mix))]
    if "rewrite" in parts:
        mixes = [f"{mix}{text}" for mix in mixes for text in ("", "+rewrite")]
    resolved = recipe.resolved()
    default: dict[str, Any] = {}
    space: dict[str, Sequence[Any]] = {}
    for name, values in CHOICES.items():
        if name.startswith("funnel.") and not parts.intersection(FUNNEL):
            continue
        value: Any = resolved
        for key in name.split("."):
            value = value[key]
        default[name], space[name] = value, _distinct([value, *values])
    default[ARMS], space[ARMS] = own, _distinct([own, *([mix] for mix in mixes)])
    return space, default


def _distinct(values: Sequence[Any]) -> list[Any]:
    """Lists among them, so not by a set."""
    return [value for place, value in enumerate(values) if value not in values[:place]]


def _state(output: Path, made: Mapping[str, Any]) -> dict[str, Any]:
    made = json.loads(json.dumps(made))
    if not (output / TRIALS).is_file():
        return {"made": made, "real": {}, "trials": []}
    state: dict[str, Any] = read_json(output / TRIALS)
    if state["made"] != made:
        raise ResumeRefused(f"{output} holds a search of another recipe, student or seed; name another folder")
    return state


def _trial(
    number: int, search: Search, options: Mapping[str, Any], real: dict[str, Any], output: Path
) -> dict[str, Any]:
    """A row of trials.json. real: by seed what was chosen on real data alone, filled by the first trial.

    A recipe of which a filter keeps nothing has failed; the first may not.
    """
    started, recipe = time.monotonic(), search.recipe(options)
    root, earlier = _root(output, number), [_root(output, before) for before in range(number)]
    row = {"number": number, "options": dict(options), "arm": None, "weight": None, "validation": None, "failed": None}
    try:
        for step in steps(recipe, root):
            if step.stage != "evaluate":
                _do(step, root, earlier)
        choices = {arm: _measured(search.student, recipe, arm, root, real) for arm in recipe.arms}
    except ShortOfTarget as error:
        if not number:
            raise
        return {**row, "failed": str(error), "seconds": round(time.monotonic() - started, 1)}
    scores = {arm: fmean(choice.validation or 0.0 for choice in found) for arm, found in choices.items()}
    arm = max(scores, key=scores.__getitem__)
    row |= {"arm": arm, "weight": [choice.weight for choice in choices[arm]], "validation": scores[arm]}
    return {**row, "seconds": round(time.monotonic() - started, 1)}


def _root(output: Path, number: int) -> Path:
    return output / "trials" / f"{number:03}"


def _do(step: Step, root: Path, earlier: Sequence[Path]) -> None:
    """Does a step, or links what an earlier trial made of the same: its mark says whether it is the same."""
    if not step.folder.exists():
        for folder in _done(step.folder.relative_to(root), earlier):
            with suppress(ResumeRefused):  # it was made by another recipe
                step.work(folder)
                _link(folder, step.folder)
                return
    step.work(step.folder)


def _done(place: Path, earlier: Sequence[Path]) -> Iterator[Path]:
    """That stage in earlier trials where it is done, each result once."""
    seen = set()
    for root in earlier:
        mark = read_mark(root / place)
        if mark is not None and mark["state"] == "done" and mark["fingerprint"] not in seen:
            seen.add(mark["fingerprint"])
            yield root / place


def _link(source: Path, target: Path) -> None:
    """The same files under another name, whole or not at all; copies where the disk knows no links."""
    temporary = temporary_for(target)
    for path in sorted(source.rglob("*")):
        place = path.relative_to(source)
        if path.is_dir() or any(part.startswith(".") for part in place.parts):
            continue
        (temporary / place).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, temporary / place)
        except OSError:
            shutil.copy2(path, temporary / place)
    temporary.replace(target)


def _measured(student: str, recipe: Recipe, arm: str, root: Path, real: dict[str, Any]) -> list[Choice]:
    """What validation says of an arm, for each seed of the recipe."""
    found = []
    for seed in recipe.seeds:
        folder = seed_folder(root, seed)
        split, held = _blind(folder / "02-split")
        if str(seed) not in real:
            fixed = with_encoder(student, recipe.evaluate.students.get(student, {}), recipe.encoder)
            alone = tune(student, fixed, recipe.evaluate.trials, (1.0,), split, Arm(REAL), held).choice
            real[str(seed)] = {"options": dict(alone.options), "validation": alone.validation}
        kept = [read_arm(arm, folder / f"05-kept-{part}", split) for part in parts_of(arm)]
        merged = Arm(arm, [sample for one in kept for sample in one.samples])
        options = real[str(seed)]["options"]
        found.append(tune(student, options, 1, recipe.evaluate.synthetic_weights, split, merged, held).choice)
    return found


def _blind(folder: Path) -> tuple[Split, Held]:
    """A split without its test rows. Raises InputError where it has no validation rows."""
    split = read_split(folder)
    split = replace(split, test=split.test[:0])
    held = held_out(split, "validation")
    if not held.users:
        raise InputError(f"{folder} has no validation rows to optimize by; raise split.validation_cold_fraction")
    return split, held


def _best(trials: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first of equals, so that the recipe stays as it is where nothing is better."""
    return max((trial for trial in trials if trial["validation"] is not None), key=lambda trial: trial["validation"])


def _written(search: Search, best: Mapping[str, Any]) -> str:
    """The best trial's recipe, its arm before the arms of the recipe as given, the controls among them."""
    given = search.recipe({})
    arms = list(dict.fromkeys([best["arm"], *given.arms]))
    found = search.recipe({**best["options"], ARMS: arms}).resolved()
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True)


def _told(options: Mapping[str, Any], default: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in options.items() if value != default[name])


def _table(state: Mapping[str, Any], best: Mapping[str, Any], default: Mapping[str, Any], output: Path) -> str:
    """Real data alone, the recipe as given and the best one, on validation, in words for a reader."""
    first, count = state["trials"][0], len(state["trials"])
    real = fmean(one["validation"] for one in state["real"].values())
    student = state["made"]["student"]
    lines = [f"{'overall NDCG@20 on validation, ' + student:48} {'score':>7}  against the recipe as given"]
    rows = [("real data alone", real), (f"as given ({first['arm']})", first["validation"])]
    rows.append((f"best of {count}, trial {best['number']} ({best['arm']})", best["validation"]))
    for name, score in rows:
        gain = f"{score / first['validation'] - 1:+.1%}" if first["validation"] else "-"
        lines.append(f"{name:48} {score:7.4f}  {gain}")
    lines.append(f"changes: {_told(best['options'], default) or 'none'}")
    failed = sum(trial["failed"] is not None for trial in state["trials"])
    if failed:
        lines.append(f"failed: {failed} of {count}, where a filter kept nothing")
    return "\n".join([*lines, f"{CAUTION} {output / BEST}"]) + "\n"
