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

from llm_aug.errors import InputError
from llm_aug.files import fingerprint, read_json, write_json, write_parquet, write_tables
from llm_aug.tidy import INTERACTION_COLUMNS as INTERACTION_COLUMNS
from llm_aug.tidy import ITEM_COLUMNS as ITEM_COLUMNS
from llm_aug.tidy import read_interactions, read_item_ids, read_items
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
    """max_tokens: new tokens at most. temperature 0 is greedy. top_p: nucleus mass."""

    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int = 96


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
    _write_items(folder, dataset)
    write_parquet(folder / "interactions.parquet", pa.Table.from_pandas(dataset.interactions, preserve_index=False))


def _write_items(folder: Path, dataset: Dataset, numbers: Sequence[int] | None = None) -> None:
    schema = pa.schema([(name, pa.string()) for name in dataset.columns])
    tables = (pa.Table.from_pandas(part, schema, preserve_index=False) for part in dataset.parts(numbers))
    write_tables(folder / "items.parquet", schema, tables)


def read_dataset(folder: Path) -> Dataset:
    return Dataset(read_items(folder / "items.parquet"), read_interactions(folder / "interactions.parquet"))


def split_hash(items: pd.DataFrame, parts: Iterable[pd.DataFrame]) -> str:
    """Of the catalogue's ids and of every part's (user, item, time) rows in sorted order."""
    rows = [sorted(items["item_id"])]
    for part in parts:
        columns = [part[name] for name in ("user_id", "item_id", "timestamp")]  # a missing time is written <NA>
        rows.append(sorted("\t".join(map(str, row)) for row in zip(*columns, strict=True)))
    return fingerprint(rows)


def write_split(folder: Path, split: Split, catalogue: Dataset | None = None) -> None:
    """catalogue: has the items of a split that holds their ids alone."""
    if catalogue is None:
        _write_items(folder, split.training)
    else:
        known = pd.Index([one for part in catalogue.values("item_id") for one in part])
        _write_items(folder, catalogue, known.get_indexer(pd.Index(split.items["item_id"])).tolist())
    for name, table in split.parts.items():
        write_parquet(folder / f"{name}.parquet", pa.Table.from_pandas(table, preserve_index=False))
    description = {
        "strategy": split.strategy,
        "seed": split.seed,
        "hash": split.hash,
        "cold_items": list(split.cold_items),
        "cold_users": list(split.cold_users),
        "revealed": split.revealed,
        "rows": {name: len(table) for name, table in {"items": split.items, **split.parts}.items()},
    }
    write_json(folder / "split.json", description)


def read_split(folder: Path, ids_only: bool = False) -> Split:
    """Reads a split and checks it: a cold item with a training row is refused, as is a cold user with more than
    were revealed, a withheld pair that is in another part, and a wrong hash.

    A split laid out by someone else may leave out `hash`, `cold_items` and `cold_users`: they are worked out.
    ids_only: of the items, for whom `stored.StoredDataset` reads the rest by parts.
    """
    items = (read_item_ids if ids_only else read_items)(folder / "items.parquet")
    train, validation, test = (read_interactions(folder / f"{n}.parquet") for n in ("train", "validation", "test"))
    rest = [read_interactions(path)] if (path := folder / "withheld.parquet").is_file() else []
    found = read_json(folder / "split.json") if (folder / "split.json").exists() else {}
    if not isinstance(found, dict):
        raise InputError(f"{folder / 'split.json'} is not a JSON object")
    actual = split_hash(items, (train, validation, test, *rest))
    if found.get("hash", actual) != actual:
        raise InputError(f"{folder}: split.json says hash {found['hash']}, the files give {actual}; split again")
    held = pd.concat([validation, test, *rest])
    revealed = int(found.get("revealed", 0))
    unknown = (set(held["item_id"]) | set(train["item_id"])) - set(items["item_id"])
    if unknown:
        raise InputError(f"{folder}: {len(unknown)} items have interactions but no row in items, e.g. {min(unknown)!r}")
    _check_withheld(folder, rest, (train, validation, test))
    return Split(
        items=items,
        train=train,
        validation=validation,
        test=test,
        cold_items=_cold(folder, "item", found, train["item_id"], held["item_id"], 0),
        cold_users=_cold(folder, "user", found, train["user_id"], held["user_id"], revealed),
        hash=actual,
        strategy=found.get("strategy", "foreign"),
        seed=int(found.get("seed", 0)),
        revealed=revealed,
        **({"withheld": rest[0]} if rest else {}),
    )


def _check_withheld(folder: Path, withheld: Sequence[pd.DataFrame], parts: Sequence[pd.DataFrame]) -> None:
    pairs = [set(zip(part["user_id"], part["item_id"], strict=True)) for part in (*withheld, *parts)]
    twice = pairs[0].intersection(set().union(*pairs[1:])) if withheld else set()
    if twice:
        raise InputError(f"{folder}: {len(twice)} withheld pairs are in another part too, e.g. {min(twice)}")


def _cold(
    folder: Path, name: str, found: Mapping[str, Any], train: pd.Series, held: pd.Series, revealed: int
) -> tuple[str, ...]:
    """As split.json lists them (in JSON an id may be a number), or all that are held out and not in train."""
    counts = train.value_counts()
    if f"cold_{name}s" not in found:
        return tuple(sorted(set(held) - set(counts.index)))
    cold = tuple(str(one) for one in found[f"cold_{name}s"])
    leaked = set(counts.index[counts > revealed]).intersection(cold)
    if leaked:
        more = f"more than {revealed} " if revealed else ""
        raise InputError(f"{folder}: {len(leaked)} cold {name}s have {more}training rows, for example {min(leaked)!r}")
    return cold
