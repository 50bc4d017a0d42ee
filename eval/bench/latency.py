"""Milliseconds to one user's top 20 from his events, and to one new item from its text: python -m eval.bench.latency

The catalogue is planted: texts of drawn words in topics; its first --warm items have history (EASE grows with the cube
of those). A request is 20 events of a user whom the student has never seen; its time runs from the item ids to the
ranked list, what he has had left out. `shelf`: the same from the FAISS index of a student's vectors (two-tower).
A new item's time runs from its row to a copy of the student that scores it (for `shelf`, to the index that holds it).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from eval.bench.report import print_json
from eval.metrics import rank
from llm_aug import seeds
from llm_aug.data import Dataset, tidy_interactions, tidy_items
from llm_aug.errors import InputError
from recommender import make_student
from recommender.live import Embeds, FoldsIn, Shelf, fold_in, history_rows, with_items

EVENTS, K = 20, 20
TOPICS, WORDS, PER_TOPIC = 50, 20_000, 400
LIVE = ("popularity", "content", "ials", "ease", "two-tower", "fusion", "autorec", "mult-vae", "gru", "sasrec")
NEW_ITEMS = 20  # a vstack of the catalogue each: the median settles at once

Histories = list[list[str]]


def planted(items: int, warm: int, users: int, seed: int) -> Dataset:
    """Items of 30 words, 24 of them of their topic; users of 30 warm items, 24 of them of one topic."""
    random = seeds.generator(seed, "bench", "latency")
    topics = random.integers(0, TOPICS, items)
    own = random.integers(0, PER_TOPIC, (items, 24)) + topics[:, None] * PER_TOPIC
    words = np.hstack([own, random.integers(0, WORDS, (items, 6))])
    texts = [" ".join(f"w{word}" for word in row) for row in words]
    frame = {"item_id": [f"i{n}" for n in range(items)], "title": texts, "description": ""}
    log = [(f"u{user}", f"i{item}") for user in range(users) for item in _history(random, topics[:warm], 30)]
    return Dataset(
        tidy_items(pd.DataFrame(frame)), tidy_interactions(pd.DataFrame(log, columns=["user_id", "item_id"]))
    )


def _history(random: np.random.Generator, topics: NDArray[np.int64], length: int) -> list[int]:
    """Item numbers, four in five of one topic where it has so many."""
    own = np.flatnonzero(topics == topics[random.integers(len(topics))])
    chosen = random.choice(own, min(length * 4 // 5, len(own)), replace=False)
    return list(dict.fromkeys([*chosen.tolist(), *random.integers(0, len(topics), length - len(chosen)).tolist()]))


def milliseconds(work: Callable[[int], Any], repeats: int) -> NDArray[np.float64]:
    """Of work(0), work(1), ...; work(0) goes before them unmeasured, for what is loaded once."""
    work(0)
    found = []
    for number in range(repeats):
        started = time.perf_counter()
        work(number)
        found.append(1000 * (time.perf_counter() - started))
    return np.array(found)


def figures(found: NDArray[np.float64]) -> dict[str, float]:
    return {"p50": float(np.median(found)), "p95": float(np.quantile(found, 0.95))}


def top(model: FoldsIn, history: Sequence[str], catalogue: pd.Index) -> NDArray[np.integer[Any]]:
    unseen = history_rows([history], catalogue).toarray() == 0
    return rank(fold_in(model, [history]), unseen, K, seeds.generator(0, "recommend", 0))


def timed(model: Any, catalogue: pd.Index, requests: Histories, rows: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """The figures of a student; of new items None where it knows nothing of texts."""
    lists = milliseconds(lambda n: top(model, requests[n], catalogue), len(requests))
    try:
        new = figures(milliseconds(lambda n: with_items(model, rows[n]), len(rows)))
    except InputError:
        new = None
    return {"list": figures(lists), "new item": new}


def timed_shelf(
    model: Embeds, catalogue: pd.Index, requests: Histories, rows: Sequence[pd.DataFrame]
) -> dict[str, Any]:
    shelf = Shelf(model.item_vectors)

    def ask(number: int) -> None:
        history = [requests[number]]
        shelf.best(model.event_vectors(history), history_rows(history, catalogue), K)

    lists = milliseconds(ask, len(requests))
    new = milliseconds(lambda n: Shelf(with_items(model, rows[n]).item_vectors), len(rows))
    return {"list": figures(lists), "new item": figures(new)}


def line(name: str, found: dict[str, Any]) -> str:
    parts = [found["list"], found["new item"] or {}]
    return f"{name:12}" + "".join(f"{part.get(q, float('nan')):12.2f}" for part in parts for q in ("p50", "p95"))


def main(
    json: bool = False,
    items: int = 20_000,
    warm: int = 5_000,
    users: int = 2_000,
    requests: int = 200,
    encoder: str = "hash:384",
    student: list[str] = typer.Option(list(LIVE)),  # noqa: B008 (how typer declares many)
    seed: int = 0,
) -> None:
    """hash:384 is as wide as minilm, whose own time for one text (some 30 ms) comes on top."""
    data = planted(items, min(warm, items), users, seed)
    catalogue, random = pd.Index(data.items["item_id"]), seeds.generator(seed, "bench", "requests")
    asked = [[f"i{n}" for n in random.choice(min(warm, items), EVENTS, replace=False)] for _ in range(requests)]
    rows = [data.items.iloc[[n]].assign(item_id=f"new{n}") for n in range(NEW_ITEMS)]
    found: dict[str, dict[str, Any]] = {}
    for name in student:
        made = make_student(name, {}, seed)
        options = {"encoder": encoder} if hasattr(made, "encoder") else {}
        model: Any = make_student(name, options, seed).fit(data)
        found[name] = timed(model, catalogue, asked, rows)
        if isinstance(model, Embeds):
            found["shelf"] = timed_shelf(model, catalogue, asked, rows)
    if json:
        ratio = {}
        if "shelf" in found:
            ratio["shelf_vs_two_tower"] = found["two-tower"]["list"]["p50"] / found["shelf"]["list"]["p50"]
        print_json({"unit": "milliseconds", "items": items, "warm": warm, "students": found, "ratio": ratio})
        return
    typer.echo(f"{'milliseconds':12}{'list p50':>12}{'p95':>12}{'new item p50':>12}{'p95':>12}")
    for name, one in found.items():
        typer.echo(line(name, one))


if __name__ == "__main__":
    typer.run(main)
