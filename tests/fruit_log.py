"""Three users of fruits, u1 liked three, u2 two, u3 eight, and their histories as asked for and read."""

from __future__ import annotations

from typing import Any

import pandas as pd

from llm_aug.data import Completion, Dataset, Pair, Reject, Request, tidy_interactions, tidy_items
from llm_aug.tasks.history import History

FRUITS = ["Apple", "Pear", "Plum", "Quince", "Cherry", "Fig", "Date", "Lime", "Kiwi", "Mango"]


EVENTS = [("u1", [0, 1, 2]), ("u2", [3, 4]), ("u3", [0, 2, 4, 5, 6, 7, 8, 9])]


START, GAP = 1_000_000_000, 500  # in September 2001, the gap between any user's events


def dataset(titles: list[str] = FRUITS, timed: bool = True, events: Any = EVENTS, **columns: Any) -> Dataset:
    items = pd.DataFrame({"item_id": [f"i{row}" for row in range(len(titles))], "title": titles, **columns})
    rows = [
        (user, f"i{item}", START + GAP * place if timed else None)
        for user, items_of in events
        for place, item in enumerate(items_of)
    ]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return Dataset(tidy_items(items), tidy_interactions(log))


def asked(task: History, data: Dataset) -> dict[str, Request]:
    return {entry.subject: entry for entry in task.requests(data) if isinstance(entry, Request)}


def rejects(task: History, data: Dataset) -> set[tuple[str, str]]:
    return {(entry.subject, entry.reason) for entry in task.requests(data) if isinstance(entry, Reject)}


def parsed(
    text: str, user: str = "u1", finish: str = "stop", data: Dataset | None = None, **options: Any
) -> list[Pair]:
    task = History(**options)
    request = asked(task, data or dataset())[user]
    return list(task.parse(request, Completion(text, finish, 9)))  # type: ignore[arg-type]


def items(pairs: list[Pair]) -> list[str]:
    return [pair.item_id for pair in pairs]


COLOURED = {"colours": ["red", "green; ripe", "blue|ripe", *["red"] * 6, "unique"], "year": ["1990"] * 9 + ["1999"]}
