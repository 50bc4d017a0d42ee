"""The sections of a recipe: each the options of the stage that it belongs to, so that a default stands in one place."""

from __future__ import annotations

from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from llm_aug.data import Sampling
from llm_aug.filters import FILTERS
from llm_aug.finetune_options import FinetuneOptions
from llm_aug.tasks import TASKS, task_class
from llm_aug.watchdog import STALL_SECONDS

STRICT = ConfigDict(extra="forbid", frozen=True)
LEARNT = Literal[("judge", *TASKS)]  # type: ignore[valid-type]
# Of a task: what it is, and what the recipe or the split says.
GIVEN = ("kind", "stage", "seed", "items", "encoder")


class Section(BaseModel):
    model_config = STRICT


class Data(Section):
    """source: a folder or file, relative to the recipe's; builtin:movielens is bundled. columns: our name -> theirs."""

    source: str
    format: str | None = None
    columns: dict[str, str] = {}


class Engine(Section):
    """How to run a model: nothing here is part of what makes a row.

    stall_minutes: a stage that hears nothing from its model for so long ends with 75, to be resumed; null waits.
    """

    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    batch_tokens: int | None = Field(None, ge=1)
    stall_minutes: float | None = Field(STALL_SECONDS / 60, gt=0)

    @property
    def stall_seconds(self) -> float | None:
        return None if self.stall_minutes is None else 60 * self.stall_minutes


class Finetune(FinetuneOptions):
    """tasks: whose examples are mixed; limit: examples at most, drawn at random."""

    model: str = ""
    tasks: tuple[LEARNT, ...] = Field(("judge",), min_length=1)
    limit: int | None = Field(None, ge=1)


class Asked(Section):
    """A task put to the model, and how its answers are drawn. Its other keys are the task's own options."""

    temperature: float = Field(Sampling().temperature, ge=0)
    top_p: float = Field(Sampling().top_p, gt=0, le=1)
    max_tokens: int = Field(Sampling().max_tokens, ge=1)

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.max_tokens)

    @property
    def options(self) -> dict[str, Any]:
        """Of the task, as `load_task` takes them."""
        return {name: value for name, value in vars(self).items() if name not in Asked.model_fields}


def asked_section(task: str) -> Any:
    """Asked with a field for each option of the task's own class, but for what the recipe says for all stages."""
    kind = task_class(task)
    hints = get_type_hints(kind)
    own: dict[str, Any] = {
        field.name: (hints[field.name], _default(field)) for field in fields(kind) if field.name not in GIVEN
    }
    return create_model(task.capitalize(), __base__=Asked, **own)


def _default(field: Any) -> Any:
    if field.default is not MISSING:
        low = {"limit": 1, "copies": 1}.get(field.name)
        return field.default if low is None else Field(field.default, ge=low)
    return Field(default_factory=field.default_factory)


def filter_section() -> Any:
    """A field for each filter that has options, of the filter's own class of options."""
    found: dict[str, Any] = {}
    for name, place in FILTERS.items():
        module, _, attribute = place.partition(":")
        config = getattr(import_module(module), attribute).Config
        if fields(config):
            found[name] = (config, config())
    return create_model("Filters", __base__=Section, **found)
