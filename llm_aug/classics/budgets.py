"""How many pairs to make, and of whom: the volume of the other arms, spread evenly or to the rarest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from llm_aug.candidates import FunnelOptions, volumes
from llm_aug.classics import TEXTS
from llm_aug.classics.log import Ints
from llm_aug.data import Dataset, Reject, Sample
from llm_aug.errors import InputError
from llm_aug.item_controls import as_many_as


@dataclass(frozen=True)
class Volume:
    """total: pairs, or texts. users: the pairs of each user, where the samples to go by or the split tell them."""

    total: int
    users: Mapping[str, int] = field(default_factory=dict)


def volume_of(style: str, samples: Sequence[Sample]) -> Volume:
    """As many as the samples hold. Raises InputError where they hold none."""
    if style in TEXTS:
        texts = sum(bool(sample.text) for sample in samples)
        if not texts:
            raise InputError(f"{style}: the samples to go by hold no texts; name a folder of rewritten descriptions")
        return Volume(texts)
    users = as_many_as(samples)
    return Volume(sum(users.values()), users)


def funnel_volume(dataset: Dataset, options: FunnelOptions) -> Volume:
    """As many pairs as the funnel makes: per_item for each cold item and per_user for each user (`grade.choose`).

    Raises InputError where no item is cold.
    """
    users = dataset.interactions["user_id"].nunique()
    cold = int((~dataset.items["item_id"].isin(dataset.interactions["item_id"])).sum())
    if not cold:
        raise InputError("every item has interactions: nothing tells how many pairs to make; name samples with --from")
    per_item, per_user = volumes(dataset, options)
    return Volume(min(per_item * cold + min(per_user, cold) * users, cold * users))


def even(volume: int, caps: Ints) -> Ints:
    """Shares of at most `caps`, as equal as they allow, that sum to the volume, or to all of the caps.

    What is left over goes to the first ones, one each.
    """
    volume = min(volume, int(caps.sum()))
    if volume <= 0:
        return np.zeros(len(caps), dtype=np.int64)
    low, high = 0, int(caps.max())
    while low < high:  # the highest level that the volume fills
        middle = (low + high + 1) // 2
        low, high = (middle, high) if int(np.minimum(caps, middle).sum()) <= volume else (low, middle - 1)
    shares = np.minimum(caps, low)
    shares[np.flatnonzero(caps > low)[: volume - int(shares.sum())]] += 1
    return shares


def rarest_first(volume: int, counts: Ints, caps: Ints, bins: int) -> Ints:
    """Shares that raise bin after bin to the median count of what has any: those without, then quantiles of the rest.

    What is left when all are raised is shared evenly. counts: what each has now. caps: what each can take.
    """
    some = np.sort(counts[counts > 0])
    level = int(np.median(some)) if len(some) else int(caps.max(initial=0))
    edges = [some[round(part * (len(some) - 1))] for part in np.arange(1, bins + 1) / bins] if len(some) else []
    bin_of = np.where(counts == 0, 0, 1 + np.searchsorted(edges, counts))
    shares = np.zeros(len(counts), dtype=np.int64)
    for number in range(int(bin_of.max(initial=0)) + 1):
        mine = np.where(bin_of == number, np.minimum(caps, np.maximum(0, level - counts)), 0)
        shares += even(volume - int(shares.sum()), mine)
    return shares + even(volume - int(shares.sum()), caps - shares)


def shortfall(stage: str, volume: int, made: int, reason: str = "full", what: str = "pairs") -> list[Reject]:
    """One reject with the missing number where the volume is not reached: nothing is left to make."""
    return [Reject("", stage, reason, f"{volume - made} of {volume} {what}")] if made < volume else []
