"""The sections of a recipe: each the options of the stage that it belongs to, so that a default stands in one place."""

from __future__ import annotations

from dataclasses import MISSING, asdict, fields
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator

from llm_aug.cluster import Cluster
from llm_aug.data import Sampling
from llm_aug.errors import InputError, did_you_mean
from llm_aug.filters import FILTERS
from llm_aug.finetune_options import FinetuneOptions
from llm_aug.registry import named
from llm_aug.server_options import ServerOptions
from llm_aug.tasks import TASKS, load_task, task_class
from llm_aug.tasks.judge import Judge
from llm_aug.watchdog import STALL_SECONDS

STRICT = ConfigDict(extra="forbid", frozen=True)
LEARNT = ("judge", *TASKS)
# Of a task: what it is, and what the recipe or the split says.
GIVEN = ("kind", "stage", "seed", "items")
# Where it is not Sampling(). A rewrite repeats names and numbers, of which a small model misspells many at 0.8, and may
# be as long as the text that is shown.
DRAWN = {"rewrite": Sampling(temperature=0.3, max_tokens=256, no_repeat_ngram_size=8)}


class Section(BaseModel):
    model_config = STRICT


class Data(Section):
    """source: a folder or file, relative to the recipe's; builtin:movielens is bundled. columns: our name -> theirs."""

    source: str
    format: str | None = None
    columns: dict[str, str] = {}


class Engine(Section):
    """How to run a model: nothing here but `extra` is part of what makes a row.

    stall_minutes: a stage that hears nothing from its model for so long ends with 75, to be resumed; null waits.
    ray, ray_workers, ray_gpus: see `Cluster`; null runs it in this process.
    extra: fields of each request to a server, as in {chat_template_kwargs: {enable_thinking: false}}, or arguments of
    vLLM's engine. The rest is as in ServerOptions.
    """

    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    batch_tokens: int | None = Field(None, ge=1)
    stall_minutes: float | None = Field(STALL_SECONDS / 60, gt=0)
    ray: str | None = None
    ray_workers: int | None = Field(None, ge=1)
    ray_gpus: float | None = Field(None, ge=0)
    extra: dict[str, Any] = {}
    api_key_env: str = ServerOptions().api_key_env
    in_flight: int = Field(ServerOptions().in_flight, ge=1)
    timeout: float = Field(ServerOptions().timeout, gt=0)
    prompt_price: float = Field(ServerOptions().prompt_price, ge=0)
    completion_price: float = Field(ServerOptions().completion_price, ge=0)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def server(self) -> ServerOptions:
        return ServerOptions(**{field.name: getattr(self, field.name) for field in fields(ServerOptions)})

    @property
    def cluster(self) -> Cluster | None:
        return None if self.ray is None else Cluster(self.ray, self.ray_workers, self.ray_gpus)

    @property
    def stall_seconds(self) -> float | None:
        return None if self.stall_minutes is None else 60 * self.stall_minutes


class Finetune(FinetuneOptions):
    """tasks: whose examples are mixed, as in rewrite/describe; without a style in that of the task's section.

    per_task: examples of each entry at most, so that none drowns the others; limit: of all. Both drawn at random.
    """

    model: str = ""
    tasks: tuple[str, ...] = Field(("judge",), min_length=1)
    per_task: int | None = Field(None, ge=1)
    limit: int | None = Field(None, ge=1)

    @field_validator("tasks")
    @classmethod
    def _known(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for place, entry in enumerate(entries):
            task, slash, style = entry.partition("/")
            if task not in LEARNT:
                raise InputError(f"finetune.tasks.{place} is {entry!r}; {did_you_mean(task, LEARNT)}")
            if slash:
                _ = (Judge(style) if task == "judge" else load_task(task, style=style)).prompt_hash
        return entries


class Asked(Section):
    """A task put to the model, and how its answers are drawn. Its other keys are the task's own options."""

    temperature: Annotated[float, Field(ge=0)] = Sampling().temperature
    top_p: Annotated[float, Field(gt=0, le=1)] = Sampling().top_p
    max_tokens: Annotated[int, Field(ge=1)] = Sampling().max_tokens
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] = Sampling().no_repeat_ngram_size
    tries: Annotated[int, Field(ge=1)] = 1

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.max_tokens, self.no_repeat_ngram_size)

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
    limits = get_type_hints(Asked, include_extras=True)
    own |= {name: (limits[name], value) for name, value in asdict(DRAWN.get(task, Sampling())).items()}
    return create_model(task.capitalize(), __base__=Asked, **own)


def _default(field: Any) -> Any:
    if field.default is not MISSING:
        low = {"limit": 1, "copies": 1}.get(field.name)
        return field.default if low is None else Field(field.default, ge=low)
    return Field(default_factory=field.default_factory)


def filter_section() -> Any:
    """A field for each filter that has options, of the filter's own class of options."""
    found: dict[str, Any] = {}
    for name in FILTERS:
        config = named("filter", name, FILTERS).Config
        if fields(config):
            found[name] = (config, config())
    return create_model("Filters", __base__=Section, **found)
