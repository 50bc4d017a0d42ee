"""Two fruits, three vehicles, and an encoder that counts words, so that every cosine can be worked out by eye."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from llm_aug.data import Dataset, Pair, Sample, tidy_interactions, tidy_items
from llm_aug.filters import FilterResult, run
from llm_aug.vectors import Vectors, unit

ITEMS = [  # 7 words each; car and van share 6 of 7
    ("apple", "Apple", "sweet red fruit from the old orchard", "fruit"),
    ("pear", "Pear", "soft green fruit inside a garden basket", "fruit"),
    ("car", "Car", "fast machine with four wheels and doors", "vehicle"),
    ("van", "Van", "fast machine with four wheels and seats", "vehicle"),
    ("truck", "Truck", "", "heavy hauling vehicle with trailer"),
]


APPLE = "sweet red fruit picked by hand"  # 3 of its 6 words are the apple's: 3 / sqrt(6 * 7) = 0.46


WORDS = sorted({word for row in ITEMS for text in row[1:] for word in text.lower().split()} | {"picked", "by", "hand"})


class WordCounts:
    """Unit rows over WORDS; other words count nothing. asked: every text it was asked for."""

    name = "words"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        cleaned = [text.lower().replace(".", " ").split() for text in texts]
        return unit(np.array([[text.count(word) for word in WORDS] for text in cleaned]).reshape(-1, len(WORDS)))


def catalogue() -> Dataset:
    items = pd.DataFrame(ITEMS, columns=["item_id", "title", "description", "kind"])
    log = pd.DataFrame({"user_id": ["ann", "ann", "bob"], "item_id": ["apple", "pear", "car"]})
    return Dataset(tidy_items(items), tidy_interactions(log))


def sample(sample_id: str, subject: str, text: str | None, **rest: object) -> Sample:
    return Sample(sample_id, "description", subject, text, **rest)  # type: ignore[arg-type]


def judge(*samples: Sample, encoder: object = None, **options: dict[str, object]) -> FilterResult:
    return run(samples, catalogue(), encoder or WordCounts(), options)  # type: ignore[arg-type]


def reasons(*samples: Sample, **options: dict[str, object]) -> list[str]:
    return [verdict.reason for verdict in judge(*samples, **options).verdicts]


def pair(sample_id: str, user: str, item: str, weight: float = 0.5) -> Sample:
    return Sample(sample_id, "interactions", item, interactions=(Pair(user, item),), weight=weight)
