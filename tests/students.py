"""Students with options for the small log of the tests, and what to fit them on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from llm_aug.data import Dataset, Split, tidy_interactions
from recommender import Recommender, make_student

OPTIONS: dict[str, dict[str, Any]] = {
    "content": {"encoder": "hash:64"},
    "two-tower": {"encoder": "hash:64", "dimensions": 16, "epochs": 4},
    "content-tower": {"encoder": "hash:64", "dimensions": 16, "epochs": 4},
    "fusion": {"encoder": "hash:64"},
    "ials": {"factors": 8, "regularization": 1.0},
    "ease": {"l2": 5.0},
    "bpr": {"factors": 8, "epochs": 30, "regularization": 0.01},
    "lightgcn": {"dimensions": 8, "epochs": 20},
    "mf": {"factors": 4, "regularization": 0.5, "iterations": 4},
    "mlp": {"encoder": "hash:64", "rank": 4, "folds": 2, "hidden": 8, "epochs": 2},
    "logistic": {"encoder": "hash:64", "rank": 4, "folds": 2},
    "linear": {"encoder": "hash:64", "rank": 4, "folds": 2},
    "autorec": {"hidden": 16, "epochs": 40, "batch_size": 16, "learning_rate": 0.02},
    "mult-vae": {"hidden": 16, "latent": 8, "epochs": 40, "batch_size": 16, "learning_rate": 0.02},
    "gru": {"encoder": "hash:64", "dimensions": 16, "max_length": 8, "epochs": 8},
    "sasrec": {"encoder": "hash:64", "dimensions": 16, "max_length": 8, "epochs": 12, "batch_size": 8, "blocks": 1},
}


def fit(name: str, dataset: Dataset, seed: int = 0) -> Recommender:
    return make_student(name, OPTIONS.get(name, {}), seed).fit(dataset)


def with_pairs(split: Split, pairs: Sequence[tuple[str, str]], weight: float = 1.0) -> Dataset:
    rows = tidy_interactions(pd.DataFrame(pairs, columns=["user_id", "item_id"]))
    rows = rows.assign(weight=weight, is_synthetic=True)
    return Dataset(split.items, pd.concat([split.train, rows], ignore_index=True))


def users_of(split: Split) -> list[str]:
    return sorted(set(split.train["user_id"]))


def column(split: Split, item: str) -> int:
    return list(split.items["item_id"]).index(item)
