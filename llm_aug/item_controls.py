"""Items that no LLM chose for users with few events: what simulated histories have to beat at the same number of items.

OUTPUT/samples.parquet   one per user: {"sample_id": "popular-items/7", "kind": "history", "subject": "7",
                         "interactions": [{"user_id": "7", "item_id": "1"}, ...]}
OUTPUT/rejects.parquet   users for whom nothing could be chosen     OUTPUT/manifest.json   recipe and counts
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_aug import seeds
from llm_aug.answers import locked, write_manifest
from llm_aug.data import Dataset, Origin, Pair, Reject, Sample, item_texts
from llm_aug.errors import InputError, ShortOfTarget
from llm_aug.generate import dataset_hash
from llm_aug.results import write_results
from llm_aug.vectors import Encoder, unit

ITEM_CONTROLS = ("random-items", "popular-items", "similar-items")


@dataclass(frozen=True)
class ControlResult:
    """asked = parsed + rejected + failed, in users."""

    asked: int
    parsed: int
    rejected: int
    failed: int = 0

    def __str__(self) -> str:
        return f"{self.asked} users asked = {self.parsed} parsed + {self.rejected} rejected"


def as_many_as(samples: Sequence[Sample]) -> dict[str, int]:
    """Pairs of each user in samples. Raises InputError where there are none."""
    counts = Counter(pair.user_id for sample in samples for pair in sample.interactions or ())
    if not counts:
        raise InputError("the samples to go by hold no pairs; name a folder of histories that `llm-aug filter` kept")
    return dict(counts)


def of_few_events(dataset: Dataset, users_with_at_most: int, events: int) -> dict[str, int]:
    """`events` for each user with few interactions. Raises InputError where there is none."""
    counts = dataset.interactions["user_id"].value_counts()
    few = sorted(counts.index[counts <= users_with_at_most])
    if not few:
        raise InputError(f"no user has {users_with_at_most} events or fewer; raise history.users_with_at_most")
    return dict.fromkeys(few, events)


def other_items(
    control: str, wanted: Mapping[str, int], dataset: Dataset, encoder: Encoder | None, seed: int
) -> Iterator[tuple[str, list[str]]]:
    """(user, items), users in order of id, items that the user does not have, fewer than wanted where there are fewer.

    random-items: of the whole catalogue, each equally likely. popular-items: those with most interactions, of equal
    ones the first of the catalogue. similar-items: those whose text vectors (less their mean) are nearest to the mean
    of the user's; none for a user without an item.
    """
    items = dataset.items["item_id"].to_numpy()
    row = {item: place for place, item in enumerate(items)}
    log = dataset.interactions[dataset.interactions["item_id"].isin(row)]
    had = {str(user): found.map(row).to_numpy() for user, found in log.groupby("user_id")["item_id"]}
    counts = np.bincount(log["item_id"].map(row).to_numpy(dtype=np.int64), minlength=len(items))
    vectors = None
    if control == "similar-items":
        assert encoder is not None, "similar items need an encoder"
        found = encoder.encode(item_texts(dataset))
        vectors = unit(found - found.mean(axis=0))
    for user in sorted(wanted):
        own = had.get(user, np.array([], dtype=np.int64))
        if vectors is not None and not len(own):
            yield user, []
            continue
        if vectors is not None:
            order = np.argsort(-(vectors @ vectors[own].mean(axis=0)), kind="stable")
        elif control == "popular-items":
            order = np.argsort(-counts, kind="stable")
        else:
            order = seeds.generator(seed, control, user).permutation(len(items))
        new = order[~np.isin(order, own)]
        yield user, items[new[: wanted[user]]].tolist()


def write_controls(
    control: str,
    wanted: Mapping[str, int],
    dataset: Dataset,
    output: Path,
    encoder: Encoder | None = None,
    seed: int = 0,
    split_hash: str = "",
) -> ControlResult:
    """Writes the folder. wanted: items of each user. Raises ShortOfTarget where no user got any."""
    config: dict[str, Any] = {
        "generator": control,
        "input": dataset_hash(dataset),
        "encoder": "" if encoder is None else encoder.name,
        "seed": seed,
        "split_hash": split_hash,
    }
    origin = Origin(f"history/{control}", seed=seed, split_hash=split_hash)
    samples, rejects = [], []
    for user, items in other_items(control, wanted, dataset, encoder, seed):
        if items:
            pairs = tuple(Pair(user, item) for item in items)
            samples.append(Sample(f"{control}/{user}", "history", user, None, pairs, origin=origin))
        else:
            rejects.append(Reject(user, "history", "no_history" if control == "similar-items" else "no_item_left"))
    with locked(output):
        write_manifest(output, config, state="running")
        write_results(output, samples, rejects)
        result = ControlResult(len(samples) + len(rejects), len(samples), len(rejects))
        write_manifest(output, config, state="done", counts=asdict(result))
    if not samples:
        raise ShortOfTarget(f"{control}: none of {result.asked} users got an item ({rejects[0].reason})")
    return result
