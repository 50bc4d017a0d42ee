"""A planted world: 60 items in three genres, 40 users who like one or two of them, 12 items that nobody has touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from llm_aug.backends import Scores
from llm_aug.data import Completion, Dataset, Prompt, Split, tidy_interactions, tidy_items
from llm_aug.funnel import Space
from llm_aug.splits import split_hash

WORDS = {
    "space": ["rocket", "orbit", "laser", "comet", "alien"],
    "kitchen": ["oven", "spoon", "flour", "butter", "pepper"],
    "forest": ["moss", "fern", "owl", "bark", "acorn"],
}
GENRES = list(WORDS)
COLD = [f"i{number:02}" for number in range(60) if number % 5 == 4]


def catalogue() -> pd.DataFrame:
    """i00 space, i01 kitchen, i02 forest, i03 space, ...; the title is two words of the genre."""
    rows = []
    for number in range(60):
        genre = GENRES[number % 3]
        first, second = WORDS[genre][number // 3 % 5], WORDS[genre][number // 15]
        rows.append({"item_id": f"i{number:02}", "title": f"{first} {second} {number}", "genre": genre})
    return tidy_items(pd.DataFrame(rows))


def likes(user: int) -> set[str]:
    """u00 likes space and kitchen, u01 kitchen, u02 forest, u03 space, u04 kitchen and forest, ..."""
    return {GENRES[user % 3]} | ({GENRES[(user + 1) % 3]} if user % 4 == 0 else set())


def split() -> Split:
    """Users touch half of what they like and 2 % of the rest; every pair with an item of COLD is a test pair."""
    items, random = catalogue(), np.random.default_rng(0)
    rows = [
        {"user_id": f"u{user:02}", "item_id": item, "timestamp": 1000 * user + when}
        for user in range(40)
        for when, (item, genre) in enumerate(zip(items["item_id"], items["genre"], strict=True))
        if random.random() < (0.5 if genre in likes(user) else 0.02)
    ]
    log = tidy_interactions(pd.DataFrame(rows))
    cold = log["item_id"].isin(COLD)
    train, test = (log[mask].reset_index(drop=True) for mask in (~cold, cold))
    parts = (train, test.iloc[:0], test)
    return Split(items, *parts, cold_items=tuple(COLD), cold_users=(), hash=split_hash(items, parts))


def training() -> Dataset:
    return split().training


def genre_space(dataset: Dataset, noise: float, seed: int = 0) -> Space:
    """Items are their genre and noise, users the mean of their items, in sorted order."""
    random = np.random.default_rng(seed)
    places = [GENRES.index(genre) for genre in dataset.items["genre"]]
    vectors = np.eye(3)[places] + noise * random.standard_normal((len(places), 3))
    row_of = {item: row for row, item in enumerate(dataset.items["item_id"])}
    liked = dataset.interactions.groupby("user_id")["item_id"].agg(list)  # sorted by user
    users = np.stack([vectors[[row_of[item] for item in items]].mean(axis=0) for items in liked])
    return Space("genre", users.astype(np.float32), vectors.astype(np.float32))


def random_space(dataset: Dataset, seed: int = 1) -> Space:
    random = np.random.default_rng(seed)
    shapes = (dataset.interactions["user_id"].nunique(), 4), (len(dataset.items), 4)
    users, items = (random.standard_normal(shape).astype(np.float32) for shape in shapes)
    return Space("random", users, items)


@dataclass
class GenreJudge:
    """An LLM that says yes where the new item's genre is one of the history's. asked: rows; calls: batches.

    kind: 'good', 'random' (a coin by the prompt), 'broken' (no score at all).
    """

    kind: str = "good"
    name: str = "genre"
    revision: str = "1"
    adapter: str = ""
    interrupt_after: int = 10**9
    silent_on: str = "\0"
    asked: list[str] = field(default_factory=list)
    calls: int = 0

    def complete(
        self, prompts: Sequence[Prompt], sampling: object, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Completion]]:
        raise NotImplementedError

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        assert list(continuations) == ["yes", "no"]
        if len(self.asked) >= self.interrupt_after:
            raise KeyboardInterrupt
        self.calls += 1
        self.asked += [prompt.user for prompt in prompts]
        sums = np.array([self._score(prompt.user) for prompt in prompts]).reshape(len(prompts), 2)
        return Scores(sums, np.ones(2, dtype=np.int64))

    def _score(self, text: str) -> tuple[float, float]:
        history, _, new = text.partition("New: ")
        if self.kind == "broken" or self.silent_on in new:
            return float("nan"), float("nan")
        if self.kind == "random":
            yes = np.random.default_rng(sum(map(ord, text))).random()
        else:
            yes = 0.2 + 0.6 * (history.count(new.split(". ")[1]) > 1)
        return float(np.log(yes)), float(np.log(1 - yes))
