"""Eight users who had three fruits each or three tools, in a catalogue that tags both."""

from __future__ import annotations

import pandas as pd

from llm_aug.data import Dataset, Request, tidy_interactions, tidy_items
from llm_aug.tasks.profile import Profile

TITLES = ["apple", "pear", "plum", "quince", "hammer", "saw", "drill", "pliers"]


KINDS = ["Fruit|Sweet", "Fruit", "Fruit|Sweet", "Fruit", "Tool", "Tool|Sharp", "Tool", "Tool"]


ANSWER = "Interests: Fresh things to eat.\nTags: fruit, Sweet, fruit, Vegetable"


def dataset(users: int = 8, **columns: object) -> Dataset:
    """u0, u2, ... had three fruits each, u1, u3, ... three tools."""
    given = {"kind": KINDS, "year": ["1995"] * 4 + ["1996"] * 4} | columns
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(8)], "title": TITLES, **given})
    rows = [(f"u{u}", f"i{4 * (u % 2) + (u // 2 + n) % 4}", 10 * n) for u in range(users) for n in range(3)]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return Dataset(tidy_items(items), tidy_interactions(log))


def asked(task: Profile, data: Dataset | None = None) -> list[Request]:
    return [entry for entry in task.requests(data or dataset()) if isinstance(entry, Request)]
