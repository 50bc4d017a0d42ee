"""Pairs and texts that no funnel and no LLM chose: what an arm has to beat at the same volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from llm_aug import seeds
from llm_aug.data import Dataset, Sample
from llm_aug.errors import InputError

CONTROLS = ("random", "active", "shuffled")
SHUFFLED_TEXTS = "shuffled-texts"


def other_users(control: str, pairs: pd.DataFrame, dataset: Dataset, items: Sequence[str], seed: int) -> pd.DataFrame:
    """As many pairs as the funnel's, that do not know who likes what: user_id, item_id, weight.

    random: every cold item gets the same number of users, drawn at random; weights in a random order. active: likewise,
    the most active users, of equally active ones the smaller id. shuffled: every cold item gets the users and weights
    of another one, by a drawn derangement: what the funnel makes of texts that lie on the wrong items. Users keep their
    numbers of pairs, and the weights their users; only the match of text and item is gone.
    pairs: the funnel's. items: all cold items.
    """
    if control == "shuffled":
        to = derangement(items, seed, control)
        return pairs[["user_id", "item_id", "weight"]].assign(item_id=pairs["item_id"].map(to))
    counts = dataset.interactions["user_id"].value_counts()
    users = np.array(sorted(counts.index, key=lambda user: (-counts[user], user)), dtype=object)
    everything = seeds.generator(seed, control).permutation(pairs["weight"].to_numpy())
    spread = zip(sorted(items), np.array_split(everything, max(1, len(items))), strict=False)
    found = []
    for item, weights in spread:
        random = seeds.generator(seed, control, item)
        drawn = users if control == "active" else random.permutation(users)
        kept = random.permutation(weights)[: len(users)]
        found.append(pd.DataFrame({"user_id": drawn[: len(kept)], "item_id": item, "weight": kept}))
    return pd.concat(found, ignore_index=True) if found else pairs


def derangement(items: Sequence[str], seed: int, control: str) -> Mapping[str, str]:
    """Item -> another item, each once: one cycle through all of them in a drawn order, so that none keeps its own.

    Raises InputError where there is a single item, which has no other to change with.
    """
    if len(items) == 1:
        raise InputError(f"{control} gives each item what is another's, and there is only {items[0]!r}; leave it out")
    order = seeds.generator(seed, control).permutation(np.array(sorted(items), dtype=object))
    return dict(zip(order, np.roll(order, -1), strict=True))


def other_texts(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """The texts of samples, each item's given to another item that has some: as many texts, on the wrong items.

    Raises InputError where there are no texts, or those of a single item.
    """
    texts = [sample for sample in samples if sample.kind == "description"]
    if not texts:
        raise InputError("the samples to go by hold no texts; name a folder of rewrites that `llm-aug filter` kept")
    to = derangement(sorted({sample.subject for sample in texts}), seed, SHUFFLED_TEXTS)
    return [
        replace(
            sample,
            sample_id=f"{SHUFFLED_TEXTS}/{sample.sample_id}",
            subject=to[sample.subject],
            origin=replace(sample.origin, generator=f"rewrite/{SHUFFLED_TEXTS}", parents=(sample.subject,)),
        )
        for sample in texts
    ]
