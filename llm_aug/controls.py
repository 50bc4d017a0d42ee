"""Pairs that no funnel and no LLM chose: what an arm has to beat at the same number of pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from llm_aug import seeds
from llm_aug.data import Dataset

CONTROLS = ("random", "active", "shuffled")


def other_users(control: str, pairs: pd.DataFrame, dataset: Dataset, items: Sequence[str], seed: int) -> pd.DataFrame:
    """As many pairs as the funnel's, made without it: user_id, item_id, weight.

    random: every cold item gets the same number of users, drawn at random; weights in a random order. active: likewise,
    the most active users, of equally active ones the smaller id. shuffled: the funnel's own number and weights for each
    item, users at random: what it knows of the items' popularity, and nothing of who likes them.
    pairs: the funnel's. items: all cold items.
    """
    counts = dataset.interactions["user_id"].value_counts()
    users = np.array(sorted(counts.index, key=lambda user: (-counts[user], user)), dtype=object)
    everything = seeds.generator(seed, control).permutation(pairs["weight"].to_numpy())
    own = {str(item): rows["weight"].to_numpy() for item, rows in pairs.groupby("item_id")}
    spread = dict(zip(sorted(items), np.array_split(everything, max(1, len(items))), strict=False))
    found = []
    for item, weights in sorted((own if control == "shuffled" else spread).items()):
        random = seeds.generator(seed, control, item)
        drawn = users if control == "active" else random.permutation(users)
        kept = random.permutation(weights)[: len(users)]
        found.append(pd.DataFrame({"user_id": drawn[: len(kept)], "item_id": item, "weight": kept}))
    return pd.concat(found, ignore_index=True) if found else pairs
