"""A split as a folder: its parts as parquet, and split.json, which says what was left cold and under which hash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from llm_aug.data import Dataset, Split, write_items
from llm_aug.errors import InputError
from llm_aug.files import fingerprint, read_json, write_json, write_parquet
from llm_aug.tidy import read_interactions, read_item_ids, read_items


def _is_ids(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) or type(one) in (int, float) for one in value)


# What split.json may hold under each name, and the same in words.
FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "strategy": (lambda value: isinstance(value, str), "a text"),
    "seed": (lambda value: type(value) is int, "a whole number"),
    "revealed": (lambda value: type(value) is int and value >= 0, "a whole number, 0 at least"),
    "cold_items": (_is_ids, "a list of ids"),
    "cold_users": (_is_ids, "a list of ids"),
}


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
        write_items(folder, split.training)
    else:
        known = pd.Index([one for part in catalogue.values("item_id") for one in part])
        places = known.get_indexer(pd.Index(split.items["item_id"]))
        assert (places >= 0).all(), "the catalogue lacks items of the split"
        write_items(folder, catalogue, places.tolist())
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

    A split laid out by someone else may leave out `hash`, `cold_items` and `cold_users`: they are worked out. A field
    of split.json that is not of its kind is refused.
    ids_only: of the items, for whom `stored.StoredDataset` reads the rest by parts.
    """
    items = (read_item_ids if ids_only else read_items)(folder / "items.parquet")
    train, validation, test = (read_interactions(folder / f"{n}.parquet") for n in ("train", "validation", "test"))
    rest = [read_interactions(path)] if (path := folder / "withheld.parquet").is_file() else []
    found = _description(folder / "split.json")
    actual = split_hash(items, (train, validation, test, *rest))
    if found.get("hash", actual) != actual:
        raise InputError(f"{folder}: split.json says hash {found['hash']}, the files give {actual}; split again")
    held = pd.concat([validation, test, *rest])
    revealed = found.get("revealed", 0)
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
        seed=found.get("seed", 0),
        revealed=revealed,
        **({"withheld": rest[0]} if rest else {}),
    )


def _description(path: Path) -> dict[str, Any]:
    """What split.json says, {} without one."""
    found = read_json(path) if path.exists() else {}
    if not isinstance(found, dict):
        raise InputError(f"{path} is not a JSON object")
    for name, (fits, kind) in FIELDS.items():
        if name in found and not fits(found[name]):
            raise InputError(f"{path}: {name} is {str(found[name])[:60]!r}, not {kind}")
    return found


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
