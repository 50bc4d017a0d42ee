"""What the product's own tasks teach of a catalogue, told of the corpus: the prompts are those that a user will send.

A shelf is rows of one source as a `Dataset`, with rule-made users: a user is a rule (an attribute's value or two),
likes items that follow it and dislikes some that do not. No interaction of any person is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llm_aug.builtin import examples
from llm_aug.builtin.examples import ANSWER_CHARACTERS, Document, Row, cut
from llm_aug.data import Dataset, tidy_interactions, tidy_items
from llm_aug.tasks import load_task
from llm_aug.tasks.judge import Judge
from llm_aug.text import is_whole

SHELF = 1500  # items of one catalogue: closed sets, tags and users are of a shelf
FEWEST = 20  # items that bear users
USERS_PER_ITEM, LIKED, DISLIKED, ASKED = 0.4, (7, 13), 3, 2
SECOND_RULE = 0.4  # of the users have one
DAY = 86_400
REWRITING = ("describe", "paraphrase", "expand", "condense", "trim", "swap", "fuse", "attributes")
READING = {
    "queries": ("review", "queries"),
    "write": ("review", "write"),
    "interests": ("profile", "interests"),
    "group": ("profile", "group"),
    "extend": ("history", "extend"),
    "simulate": ("history", "simulate"),
}
JUDGING = {"preference": "preference", "both_orders": "both_orders"}
_PRIVATE = frozenset({"license", "price", "inspired_by"})


@dataclass(frozen=True)
class Shelf:
    """labelled: user_id, item_id, label, pairs that the log does not have."""

    dataset: Dataset
    labelled: pd.DataFrame


def told_about(row: Row) -> tuple[str, str]:
    """Title and description; the one-line lists write 'Name: what it is'."""
    title = str((row.get("attrs") or {}).get("title") or "")
    text = row["text"]
    if not title:
        title, _, text = text.partition(": ")
    return title.strip(), text.strip()


def item(row: Row, name: str) -> dict[str, str] | None:
    """A row of the catalogue; None where no whole sentence fits."""
    title, text = told_about(row)
    text = cut(text.replace("\n", " "), ANSWER_CHARACTERS)
    if not title or len(title) > 80 or not text or not is_whole(text):
        return None
    attributes = {key: value for key, value in (row.get("attrs") or {}).items() if key not in {"title", *_PRIVATE}}
    columns = {
        key: "|".join(map(str, value[:4])) if isinstance(value, list) else str(value)
        for key, value in attributes.items()
    }
    return {"item_id": name, "title": title, "description": text, **columns}


def shelves(rows: Sequence[Row], rng: np.random.Generator, users: bool) -> Iterator[Shelf]:
    """All rows that make an item, SHELF at a time."""
    for start in range(0, len(rows), SHELF):
        found = [item(row, f"i{place}") for place, row in enumerate(rows[start : start + SHELF])]
        items = tidy_items(pd.DataFrame([one for one in found if one is not None]).fillna("")) if any(found) else None
        if items is None:
            continue
        log, labelled = made_users(items, rng) if users and len(items) >= FEWEST else ([], [])
        events = pd.DataFrame(log, columns=["user_id", "item_id", "timestamp", "rating"])
        dataset = Dataset(items, tidy_interactions(events))
        yield Shelf(dataset, pd.DataFrame(labelled, columns=["user_id", "item_id", "label"]))


Event = tuple[str, str, int, float]


def made_users(items: pd.DataFrame, rng: np.random.Generator) -> tuple[list[Event], list[tuple[str, str, bool]]]:
    """Events of rule-made users, and for each some items that he would like and would not."""
    by_value: dict[str, list[str]] = defaultdict(list)
    columns = [name for name in items.columns if name not in ("item_id", "title", "description", "year")]
    for row in items.to_dict("records"):
        for name in columns:
            for value in filter(None, str(row[name]).split("|")):
                by_value[value].append(row["item_id"])
    values = sorted(value for value, found in by_value.items() if len(found) >= LIKED[0] + ASKED)
    log: list[Event] = []
    labelled: list[tuple[str, str, bool]] = []
    if not values:
        return log, labelled
    odds = np.array([len(by_value[value]) ** 0.5 for value in values])
    everything = items["item_id"].tolist()
    for number in range(round(USERS_PER_ITEM * len(items))):
        user = f"u{number}"
        rules = rng.choice(
            values, size=min(len(values), 1 + int(rng.random() < SECOND_RULE)), replace=False, p=odds / odds.sum()
        )
        liked = list(dict.fromkeys(one for rule in rules for one in by_value[rule]))
        chosen = [liked[place] for place in rng.permutation(len(liked))[: int(rng.integers(*LIKED)) + ASKED]]
        others = [everything[place] for place in rng.permutation(len(everything))[: 4 * DISLIKED + 4 * ASKED]]
        others = [one for one in others if one not in set(liked)]
        disliked, unseen = others[:DISLIKED], others[DISLIKED : DISLIKED + ASKED]
        labelled += [(user, one, True) for one in chosen[:ASKED]] + [(user, one, False) for one in unseen]
        events = [(one, float(rng.integers(4, 6))) for one in chosen[ASKED:]]
        events += [(one, float(rng.integers(1, 3))) for one in disliked]
        start = int(rng.integers(15_000, 19_000))
        for day, place in enumerate(rng.permutation(len(events)).tolist()):
            log.append((user, events[place][0], (start + day) * DAY, events[place][1]))
    return log, labelled


Maker = Callable[[Sequence[Row], np.random.Generator], Iterator[Document]]


PAIRED: dict[str, Maker] = {"describe": examples.describe, "paraphrase": examples.paraphrase}


def rewriting(style: str) -> Maker:
    """What the task itself teaches; sources of pairs teach what people wrote."""

    def make(rows: Sequence[Row], rng: np.random.Generator) -> Iterator[Document]:
        if rows and "input" in rows[0]:
            yield from PAIRED[style](rows, rng)
            return
        task = load_task("rewrite", style=style, seed=int(rng.integers(2**31)))
        for shelf in shelves(rows, rng, users=False):
            for example in task.examples(shelf.dataset):
                yield Document(style, rows[0]["source"], example.answer, example.prompt)

    return make


def reading(name: str) -> Maker:
    task_name, style = READING[name]

    def make(rows: Sequence[Row], rng: np.random.Generator) -> Iterator[Document]:
        task = load_task(task_name, style=style, seed=int(rng.integers(2**31)))
        for shelf in shelves(rows, rng, users=True):
            log = shelf.dataset.interactions
            if not len(log) and style != "queries":
                continue
            liked = Dataset(shelf.dataset.items, log if style == "write" else log[log["rating"] > 3])
            for example in task.examples(liked):
                yield Document(name, rows[0]["source"], example.answer, example.prompt)

    return make


def judging(style: str) -> Maker:
    def make(rows: Sequence[Row], rng: np.random.Generator) -> Iterator[Document]:
        judge, seed = Judge(style=style), int(rng.integers(2**31))
        for shelf in shelves(rows, rng, users=True):
            log = shelf.dataset.interactions
            liked = Dataset(shelf.dataset.items, log[log["rating"] > 3])
            labelled = shelf.labelled
            if len(labelled):
                for example in judge.examples(liked, labelled, seed):
                    yield Document(style, rows[0]["source"], example.answer, example.prompt)

    return make
