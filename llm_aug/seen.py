"""Which real interactions went into something, as hashes in FOLDER/seen.parquet: beside samples, and in an adapter.

One column `seen`, uint64, sorted, each once: of every (user, item) that a task, a judge or a generator was handed, of
every such user alone and of every such item alone. Whoever knows the ids can look a pair up: hashes are no secret.
"""

from __future__ import annotations

import hashlib
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from llm_aug.data import Dataset, Split
from llm_aug.errors import InputError
from llm_aug.files import read_parquet, write_parquet
from llm_aug.finetune_record import catalogue_hash
from llm_aug.stage import checked, read_mark

SEEN = "seen.parquet"
Hashes = NDArray[np.uint64]
NOTHING: Hashes = np.zeros(0, np.uint64)


def hashes_of(dataset: Dataset) -> Hashes:
    """Of the log's pairs, users and items; sorted. An id hashes by its catalogue: ids of another one are others."""
    catalogue, log = catalogue_hash(chain.from_iterable(dataset.values("item_id"))), dataset.interactions
    (user, users), (item, items) = (pd.factorize(log[f"{name}_id"]) for name in ("user", "item"))
    of_users, of_items = _hashed("user", users, catalogue), _hashed("item", items, catalogue)
    return _union(of_users[user] ^ of_items[item], of_users, of_items)


def _hashed(what: str, ids: pd.Index | tuple[str, ...], catalogue: str) -> Hashes:
    """BLAKE2b-64 of each id. A pair is the xor of its two (Zobrist 1970): two pairs are alike once in 2^64."""
    state = hashlib.blake2b(digest_size=8, key=catalogue.encode(), person=what.encode())
    digests = []
    for one in np.asarray(ids, dtype=object):
        own = state.copy()
        own.update(one.encode("utf-8", "surrogatepass"))
        digests.append(own.digest())
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _union(*parts: Hashes) -> Hashes:
    """Sorted, each once. numpy.unique hashes, which takes 70 times as long as to sort."""
    found = np.sort(np.concatenate([NOTHING, *parts]))
    kept: Hashes = found[np.concatenate([np.ones(min(1, len(found)), np.bool_), found[1:] != found[:-1]])]
    return kept


def _among(values: Hashes, known: Hashes) -> NDArray[np.bool_]:
    """Whether each value is one of known, which is sorted."""
    if not len(known):
        return np.zeros(len(values), np.bool_)
    found = np.zeros(len(values), np.bool_)
    order = np.argsort(values)  # looked up in order, neighbours lie in the same cache line
    ordered = values[order]
    found[order] = known[np.minimum(np.searchsorted(known, ordered), len(known) - 1)] == ordered
    return found


def leak(split: Split, seen: Hashes) -> str:
    """What of the rows that the split holds out is among seen, in words with an example; '' where nothing is.

    A row that is held out and in train as well (bought again), or is one of those revealed of a cold user, is no leak.
    """
    catalogue = catalogue_hash(split.items["item_id"])
    held = pd.concat([split.validation, split.test, split.withheld])

    def leaked(hashes: Hashes) -> NDArray[np.int64]:
        found = np.flatnonzero(_among(hashes, seen))
        return found[~_among(hashes[found], hashes_of(split.training))] if len(found) else found

    (user, users), (item, items) = (pd.factorize(held[f"{name}_id"]) for name in ("user", "item"))
    found = leaked(_hashed("user", users, catalogue)[user] ^ _hashed("item", items, catalogue)[item])
    if len(found):
        row = held.iloc[found[0]]
        example = f"user {row['user_id']!r} with item {row['item_id']!r}"
        return f"{len(found)} of the {len(held)} rows that this split holds out, for example {example}"
    for what, cold in (("user", split.cold_users), ("item", split.cold_items)):
        found = leaked(_hashed(what, cold, catalogue))
        if len(found):
            return f"interactions of {len(found)} of this split's cold {what}s, for example of {cold[found[0]]!r}"
    return ""


def write_seen(folder: Path, *parts: Hashes) -> None:
    """The union of parts and of what an earlier run put there, so that no kill and no other recipe loses any."""
    earlier = read_seen(folder) if (folder / SEEN).is_file() else None
    union = _union(*parts, *([] if earlier is None else [earlier]))
    write_parquet(folder / SEEN, pa.table({"seen": union}))


def read_seen(source: Path) -> Hashes | None:
    """Of a folder, or of the folder of a file; None where nothing is recorded, as of what others made.

    Raises InputError where it is not a record, or not as its stage wrote it.
    """
    path = (source if source.is_dir() else source.parent) / SEEN
    if not path.is_file() and path.name not in (read_mark(path.parent) or {}).get("files", ()):
        return None
    checked(path)
    table = read_parquet(path)
    if table.column_names != ["seen"] or table.schema.field("seen").type != pa.uint64() or table["seen"].null_count:
        raise InputError(f"{path} is no record of pairs: it has one column 'seen' of uint64; remove it or make it anew")
    return _union(table["seen"].to_numpy())
