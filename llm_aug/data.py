"""Every type that crosses a folder, and its parquet form.

One item:         {"item_id": "1", "title": "Toy Story", "description": "", "genres": "Comedy", "year": "1995"}
One interaction:  {"user_id": "7", "item_id": "1", "timestamp": 964982703, "rating": 4.0, "weight": 1.0,
                   "is_synthetic": false}
One sample:       {"sample_id": "rewrite/describe/1/0", "kind": "description", "subject": "1", "text": "A toy ...",
                   "interactions": null, "weight": 1.0, "origin": {"generator": "rewrite/describe", ...}}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
import pyarrow as pa

from llm_aug.files import together, write_parquet, write_tables
from llm_aug.tidy import INTERACTION_COLUMNS as INTERACTION_COLUMNS
from llm_aug.tidy import ITEM_COLUMNS as ITEM_COLUMNS
from llm_aug.tidy import read_interactions, read_items
from llm_aug.tidy import tidy_interactions as tidy_interactions
from llm_aug.tidy import tidy_items as tidy_items

Kind = Literal["description", "attributes", "interactions", "history", "review", "profile", "vector"]
KINDS: tuple[str, ...] = get_args(Kind)

_NOTHING = tidy_interactions(pd.DataFrame(columns=["user_id", "item_id"]))
USERS_COLD = "user-random"  # the strategy of a split that leaves users cold


@dataclass(frozen=True)
class Dataset:
    """items: ITEM_COLUMNS and attributes (strings). interactions: INTERACTION_COLUMNS, perhaps `review`; string ids."""

    items: pd.DataFrame
    interactions: pd.DataFrame

    @property
    def columns(self) -> list[str]:
        """Of the items."""
        return list(self.items.columns)

    @property
    def attributes(self) -> list[str]:
        return [column for column in self.columns if column not in ITEM_COLUMNS]

    def values(self, column: str) -> Iterator[list[Any]]:
        """One column of the items, in one piece or in several."""
        yield self.items[column].tolist()

    def rows(self, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Items by their row, in any order."""
        return (self._records[number] for number in numbers)

    def parts(self, numbers: Sequence[int] | None = None) -> Iterator[pd.DataFrame]:
        """The items, or those of these rows in this order, in one piece or in several."""
        yield self.items if numbers is None else self.items.iloc[list(numbers)]

    @cached_property
    def _records(self) -> list[dict[Any, Any]]:
        return list(self.items.to_dict("records"))


@dataclass(frozen=True)
class Split:
    """What `eval.split` cuts. Everything before `eval` is handed `training` only.

    items: the whole catalogue. train, validation, test: interactions. A cold item has a catalogue row and all of its
    interactions in validation or all of them in test; a cold user likewise, but for the first `revealed` of them, which
    are in train. withheld: the first rows of cold items, or what cold users did next, which no part holds, so that more
    of them can be revealed and the same rows tested.
    """

    items: pd.DataFrame
    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    cold_items: tuple[str, ...]
    cold_users: tuple[str, ...]
    hash: str
    strategy: str = "foreign"
    seed: int = 0
    revealed: int = 0
    withheld: pd.DataFrame = field(default_factory=lambda: _NOTHING)

    @property
    def training(self) -> Dataset:
        return Dataset(self.items, self.train)

    @property
    def by_users(self) -> bool:
        """Whether it was users that were left cold, not items."""
        return self.strategy == USERS_COLD

    @property
    def parts(self) -> dict[str, pd.DataFrame]:
        """The interactions by the name of their file; withheld where there are any."""
        names = ("train", "validation", "test", *(("withheld",) if len(self.withheld) else ()))
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Prompt:
    system: str
    user: str


@dataclass(frozen=True)
class Sampling:
    """max_tokens: new tokens at most. temperature 0 is greedy. top_p: nucleus mass.

    no_repeat_ngram_size: tokens of a run that an answer holds once at most, or as often as its prompt does; 0: any may
    come again. Models that run in this process keep to it; servers and vLLM have no such thing.
    """

    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int = 96
    no_repeat_ngram_size: int = 0


@dataclass(frozen=True)
class Completion:
    """finish: 'stop' (the model ended), 'length' (cut at max_tokens), 'error' (text says why; retried on resume)."""

    text: str
    finish: Literal["stop", "length", "error"]
    n_tokens: int


@dataclass(frozen=True)
class Request:
    """One question. key is unique within a stage and stable over runs; subject is the item or user it is about."""

    key: str
    subject: str
    prompt: Prompt
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """A fine-tuning pair: loss is taken on the answer only. weight scales its loss."""

    prompt: Prompt
    answer: str
    weight: float = 1.0


@dataclass(frozen=True)
class Origin:
    """Where a sample comes from; an empty string where a field does not apply."""

    generator: str
    parents: tuple[str, ...] = ()
    model: str = ""
    revision: str = ""
    adapter: str = ""
    prompt_hash: str = ""
    sampling: str = ""
    seed: int = 0
    split_hash: str = ""


@dataclass(frozen=True)
class Pair:
    user_id: str
    item_id: str
    timestamp: int | None = None
    rating: float | None = None


@dataclass(frozen=True)
class Sample:
    sample_id: str
    kind: Kind
    subject: str
    text: str | None = None
    interactions: tuple[Pair, ...] | None = None
    weight: float = 1.0
    origin: Origin = field(default_factory=lambda: Origin("foreign"))


@dataclass(frozen=True)
class Reject:
    """An answer that did not become a sample. reason is a slug, answer the raw text."""

    subject: str
    stage: str
    reason: str
    answer: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a filter says of one sample: reason is a slug ('' when kept), nearest the neighbour that decided."""

    keep: bool
    reason: str = ""
    score: float | None = None
    nearest: str = ""


def item_text(row: Mapping[str, Any], attributes: Sequence[str]) -> str:
    """Title, attribute values and description of one item as one line of text, for encoders."""
    values = [str(row[name]).replace("|", ", ") for name in attributes if row[name] is not None and str(row[name])]
    return ". ".join(filter(None, map(str.strip, (str(row["title"]), *values, str(row["description"])))))


def item_texts(dataset: Dataset) -> list[str]:
    return [item_text(row, dataset.attributes) for row in dataset.items.to_dict("records")]


def write_dataset(folder: Path, dataset: Dataset) -> None:
    write_items(folder, dataset)
    write_parquet(folder / "interactions.parquet", pa.Table.from_pandas(dataset.interactions, preserve_index=False))


def write_items(folder: Path, dataset: Dataset, numbers: Sequence[int] | None = None) -> None:
    schema = pa.schema([(name, pa.string()) for name in dataset.columns])
    tables = (pa.Table.from_pandas(part, schema, preserve_index=False) for part in dataset.parts(numbers))
    write_tables(folder / "items.parquet", schema, together(tables))


def read_dataset(folder: Path) -> Dataset:
    return Dataset(read_items(folder / "items.parquet"), read_interactions(folder / "interactions.parquet"))
