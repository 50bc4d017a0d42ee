"""The recipe: one YAML file, or the flags of one command, as frozen models; what is not known is refused by name.

Each section is the options class of the stage that it belongs to, so that every default stands in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from eval.arguments import checked_students
from eval.cold_start import EvaluateOptions
from eval.split import SplitOptions
from llm_aug.candidates import FunnelOptions
from llm_aug.classics import CLASSICS, Classic, load_classic
from llm_aug.clean import CleanOptions
from llm_aug.errors import InputError, did_you_mean
from llm_aug.item_controls import ITEM_CONTROLS
from llm_aug.prompt import load_template
from llm_aug.sections import Asked, Data, Engine, Finetune, Section, asked_section, filter_section
from llm_aug.simulate import SimulateOptions
from llm_aug.tasks import TASKS, task_class
from recommender.encoder_options import EncoderTuning

PARTS = ("funnel", "random", "active", "shuffled", "llm", "history", *ITEM_CONTROLS, *CLASSICS)
MIXES = (*PARTS, *(f"{one}+{other}" for one, other in combinations(PARTS, 2)))
ARMS = Literal[(*MIXES, *(f"{mix}+rewrite" for mix in MIXES))]  # type: ignore[valid-type]
# What several sections share is said once, at this place.
ELSEWHERE = {
    "split.seed": "seeds",
    "funnel.seed": "seeds",
    "finetune.seed": "seeds",
    "finetune.model": "model",
    "finetune.device": "engine.device",
    "finetune.trust_remote_code": "engine.trust_remote_code",
    "finetune.stall_minutes": "engine.stall_minutes",
    "interactions.seed": "seeds",
    "interactions.split_hash": "split",
    "interactions.stall_seconds": "engine.stall_minutes",
    "encoder_tuning.seed": "seeds",
    "evaluate.encoder": "encoder",
}


Filters = filter_section()
Rewrite, History, Review, Profile = (asked_section(task) for task in ("rewrite", "history", "review", "profile"))


class Recipe(Section):
    """seeds: one split, and all that follows from it, per seed. finetune: null asks the model as it is, or with
    `adapter`, a folder that was tuned before, here or on another catalogue; {seed} in its name is the seed.

    failed_share: a run goes on where at most this share of the requests got no answer. classics: options of each by its
    name, as in {mix: {style: users}}.
    """

    data: Data | None = None
    clean: CleanOptions = CleanOptions()
    split: SplitOptions = SplitOptions()
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    model: str = "builtin:mini"
    adapter: str | None = None
    encoder: str = "minilm"
    encoder_tuning: EncoderTuning | None = None
    engine: Engine = Engine.model_validate({})
    funnel: FunnelOptions = FunnelOptions()
    finetune: Finetune | None = Finetune.model_validate({})
    rewrite: Rewrite = Rewrite()  # type: ignore[valid-type]
    history: History = History()  # type: ignore[valid-type]
    review: Review = Review()  # type: ignore[valid-type]
    profile: Profile = Profile()  # type: ignore[valid-type]
    interactions: SimulateOptions = SimulateOptions()
    classics: dict[str, dict[str, Any]] = Field({})
    filter: Filters = Filters()  # type: ignore[valid-type]
    arms: tuple[ARMS, ...] = ("funnel", "random", "active", "llm", "llm+rewrite")  # type: ignore[valid-type]
    evaluate: EvaluateOptions = EvaluateOptions()
    failed_share: float = Field(0.01, ge=0, le=1)

    @model_validator(mode="after")
    def _early(self) -> Recipe:
        """What would otherwise fail after hours of work."""
        if self.adapter is not None and self.finetune is not None:
            raise InputError("adapter and finetune are both set; with finetune: null the adapter is used as it is")
        load_template("rewrite", self.asked("rewrite").options["style"])
        _ = self.interactions.judge.prompt_hash
        for name in TASKS:
            if self.asked(name).tries > 1 and not self.asked(name).temperature:
                raise InputError(f"{name}.tries is above 1 at temperature 0, where every try says the same; raise it")
        for name in self.classics:
            self.classic(name)
        for name in ("seeds", "arms"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise InputError(f"{name} names {max(values, key=values.count)!r} twice")
        return self

    @property
    def seed(self) -> int:
        """Of one split; a recipe of several is taken apart by `at`."""
        return self.seeds[0]

    def asked(self, task: str) -> Asked:
        """The section of a task."""
        found: Asked = getattr(self, task)
        return found

    def classic(self, name: str) -> Classic:
        return load_classic(name, **self.classics.get(name, {}))

    def task_options(self, task: str) -> dict[str, Any]:
        """What `load_task` takes: the task's section, and what the recipe says for all stages."""
        given = {"seed": self.seed}
        own = {field.name for field in fields(task_class(task))}
        return {**self.asked(task).options, **{name: value for name, value in given.items() if name in own}}

    def at(self, seed: int) -> Recipe:
        return self.model_copy(update={"seeds": (seed,)})

    def section(self, name: str) -> Any:
        """A section as JSON values, without what is said elsewhere."""
        return self.resolved()[name]

    def resolved(self) -> dict[str, Any]:
        """Every value, default or not, as a file that `load_recipe` reads back."""
        found = self.model_dump(mode="json")
        for path in ELSEWHERE:
            section, _, key = path.partition(".")
            if found[section] is not None:
                del found[section][key]
        return found


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """A YAML file and `a.b=c` overrides. Raises InputError that names file, key and how to mend it."""
    values = _read(path)
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("source"), str) and not data["source"].startswith("builtin:"):
        data["source"] = str((path.parent / data["source"]).resolve())
    if isinstance(values.get("adapter"), str):
        values["adapter"] = str((path.parent / values["adapter"]).resolve())
    for override in overrides:
        _set(values, override)
    return _checked(values, str(path))


def recipe_of(overrides: Sequence[str] = (), **sections: Any) -> Recipe:
    """Of the flags of a command: a None among them was not given."""
    values = _without_none(sections)
    for override in overrides:
        _set(values, override)
    return _checked(values, "options")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.load(path.read_text(encoding="utf-8-sig"), _OnceLoader)  # noqa: S506  (a SafeLoader)
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{path} is not a file; `llm-aug init FOLDER` writes a recipe to start from") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no recipe: its top level is {type(found).__name__}, not keys and values")
    return found


class _OnceLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which PyYAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _set(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise InputError(f"{override!r} is not key=value, as in --set split.cold_fraction=0.3")
    *sections, last = path.split(".")
    place = values
    for name in sections:
        if place.get(name) is None:
            place[name] = {}
        place = place[name]
        if not isinstance(place, dict):
            raise InputError(f"{override!r}: {name} is a value and has no keys")
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{override!r}: the value is not readable YAML") from error


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: _without_none(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    return {name: value for name, value in kept.items() if value is not None}


def _checked(values: Mapping[str, Any], where: str) -> Recipe:
    for path, owner in ELSEWHERE.items():
        section, _, key = path.partition(".")
        found = values.get(section)
        if isinstance(found, Mapping) and key in found:
            raise InputError(f"{where}: {path} is not set here: it comes from {owner!r}")
    # A section whose every line is a comment reads as null, as does a student without options; only for finetune does
    # it mean something.
    given = {name: value for name, value in values.items() if value is not None or name == "finetune"}
    students = (given.get("evaluate") or {}).get("students") if isinstance(given.get("evaluate"), Mapping) else None
    if isinstance(students, Mapping):
        filled = {name: {} if options is None else options for name, options in students.items()}
        given["evaluate"] = {**given["evaluate"], "students": filled}
    try:
        recipe = Recipe.model_validate(given)
        students = checked_students(recipe.evaluate.students)
        return recipe.model_copy(update={"evaluate": replace(recipe.evaluate, students=students)})
    except ValidationError as error:
        raise InputError(f"{where}: {_sentence(error)}") from error
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _sentence(error: ValidationError) -> str:
    first, *rest = error.errors()
    *parents, last = path = [str(part) for part in first["loc"]]
    name = ".".join(path)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        words = f"no such key as {name}; {did_you_mean(last, _known(parents))}"
    elif first["type"] == "literal_error":
        words = f"{name} is {first['input']!r}; {did_you_mean(str(first['input']), get_args(_literal(path)))}"
    elif first["type"] == "missing":
        words = f"{name} is missing"
    else:
        words = f"{name} is {first['input']!r}: {first['msg'].lower()}"
    return f"{words} (and {len(rest)} more)" if rest else words


def _types(kind: Any) -> dict[str, Any]:
    """Field name -> annotation of a model or of a dataclass."""
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in fields(kind)}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return {}


def _kind(path: Sequence[str]) -> Any:
    """The annotation behind a dotted path; the class itself where it is optional."""
    kind: Any = Recipe
    for name in path:
        kind = _types(kind).get(name, kind)
        kind = next((part for part in get_args(kind) if _types(part)), kind)
    return kind


def _known(parents: Sequence[str]) -> Iterable[str]:
    return (name for name in _types(_kind(parents)) if ".".join([*parents, name]) not in ELSEWHERE)


def _literal(path: Sequence[str]) -> Any:
    """The Literal behind a path, which may end in an index: tuple[Literal[...], ...]."""
    kind = _kind([part for part in path if not part.isdigit()])
    return next((part for part in get_args(kind) if get_args(part)), kind)
