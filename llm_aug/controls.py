"""Pairs that no funnel and no LLM chose: what an arm has to beat at the same number of pairs for every item."""

from __future__ import annotations

import numpy as np
import pandas as pd

from llm_aug import seeds
from llm_aug.data import Dataset

CONTROLS = ("random", "active")


def other_users(control: str, pairs: pd.DataFrame, dataset: Dataset, seed: int) -> pd.DataFrame:
    """Each item's pairs with users drawn at random, or with the most active users; its weights in a random order.

    control: one of CONTROLS. pairs: user_id, item_id, weight, each pair once. Items come in sorted order; of equally
    active users the smaller id is first.
    """
    counts = dataset.interactions["user_id"].value_counts()
    users = np.array(sorted(counts.index, key=lambda user: (-counts[user], user)), dtype=object)
    found = []
    for item, rows in pairs.groupby("item_id", sort=True):
        random = seeds.generator(seed, control, str(item))
        drawn = random.permutation(users) if control == "random" else users
        weights = random.permutation(rows["weight"].to_numpy())
        found.append(pd.DataFrame({"user_id": drawn[: len(rows)], "item_id": item, "weight": weights}))
    return pd.concat(found, ignore_index=True) if found else pairs
