"""Users who had some of six fruits, and the reviews that are asked of them."""

from __future__ import annotations

import pandas as pd

from llm_aug.data import Dataset, Request, tidy_interactions, tidy_items
from llm_aug.tasks.review import Review

FRUITS = ["apple", "pear", "plum", "quince", "cherry", "fig"]


def dataset(titles: list[str] = FRUITS, ratings: bool = True, **columns: object) -> Dataset:
    """u1 had apple (5), pear (4), plum (2); u2 had apple (1) alone. Nobody had quince, cherry and fig."""
    items = pd.DataFrame({"item_id": [f"i{row}" for row in range(len(titles))], "title": titles, **columns})
    rows = [("u1", "i0", 10, 5.0), ("u1", "i1", 20, 4.0), ("u1", "i2", 30, 2.0), ("u2", "i0", 5, 1.0)]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "rating"])
    return Dataset(tidy_items(items), tidy_interactions(log if ratings else log.drop(columns="rating")))


def asked(task: Review, data: Dataset | None = None) -> list[Request]:
    return [entry for entry in task.requests(data or dataset()) if isinstance(entry, Request)]
