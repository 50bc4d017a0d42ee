"""judge: which of a user's candidates would he like? Answered by log-odds of one answer over another, never a verdict.

A pair's score is the mean of its questions' log-odds, each with its sign. The template says what is asked: with `item`,
yes or no; with `answers` too, the two words in both orders; with `first` and `second`, which of two, the other being a
rival from the same user's list, in both orders, since models lean to one letter whatever stands there.
The history comes first and is the same for all of a user's candidates, so that an engine can compute it once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_aug import seeds
from llm_aug.data import Completion, Dataset, Example, Prompt
from llm_aug.errors import InputError
from llm_aug.prompt import Template
from llm_aug.tasks.prompted import Prompted

ANSWERS = ("yes", "no")
LETTERS = ("A", "B")
NO_SCORE = "no finite score: the prompt is too long for the model, or the model overflowed"
WORD_CHARS = 16  # a "word" of 10,000 characters would push the whole history out of a small model's window


class Question(NamedTuple):
    """To be answered for a user. items: the one he may like, or the two to choose from, in the order shown.

    turned: the words to answer with are named in the other order.
    """

    user: str
    items: tuple[str, ...]
    turned: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """Names that tell it from the other questions of a judge."""
        return (self.user, *self.items, "turned") if self.turned else (self.user, *self.items)


Signed = tuple[Question, int]


@dataclass(frozen=True)
class Judge(Prompted):
    """history: how many items of a user are shown, the latest. words: how many words of an item's line.

    rivals: with how many of the user's other candidates one is compared, where the style compares.
    No content-free prior is taken away (Zhao et al. 2021): scores are centred by user, and his history's would cancel.
    """

    task: ClassVar[str] = "judge"
    style: str = "history"
    history: int = 8
    words: int = 14
    rivals: int = 2

    def __post_init__(self) -> None:
        if min(self.history, self.words, self.rivals) < 1:
            given = f"history ({self.history}), words ({self.words}) and rivals ({self.rivals})"
            raise InputError(f"judge: {given} are at least 1")

    def variables(self, template: Template) -> tuple[Set[str], Set[str]]:
        if {"first", "second"} & template.variables:
            return {"history", "first", "second"}, set()
        return {"history", "item"}, {"answers"}

    @property
    def compares(self) -> bool:
        """Whether it is asked which of two, instead of yes or no."""
        return "first" in self.template.variables

    @property
    def answers(self) -> tuple[str, str]:
        """The two whose log-odds are taken."""
        return LETTERS if self.compares else ANSWERS

    @property
    def orders(self) -> tuple[bool, ...]:
        """In which orders the answers are named: as they are, and turned."""
        return (False, True) if "answers" in self.template.variables else (False,)

    def questions(self, pairs: pd.DataFrame, seed: int) -> list[list[Signed]]:
        """Of each row of pairs (user_id, item_id), each question with its sign; a user's only candidate has no rival.

        Two rows may share a question, of which one prefers what the other does not.
        """
        rows = list(zip(pairs["user_id"], pairs["item_id"], strict=True))
        if not self.compares:
            return [[(Question(user, (item,), turned), 1) for turned in self.orders] for user, item in rows]
        listed: dict[str, list[str]] = {}
        for user, item in rows:
            listed.setdefault(user, []).append(item)
        met = {user: rivals_of(items, self.rivals, seed, user) for user, items in listed.items()}
        return [
            [
                signed
                for rival in met[user][item]
                for signed in ((Question(user, (item, rival)), 1), (Question(user, (rival, item)), -1))
            ]
            for user, item in rows
        ]

    def prompts(self, dataset: Dataset, questions: Iterable[Question]) -> Iterator[Prompt]:
        """One for each, in order; dataset: the log that the histories come from."""
        lines, histories = self.lines(dataset), self.histories(dataset)
        for user, items, turned in questions:
            history, shown = ([lines[one] for one in several] for several in (histories[user], items))
            values = dict(zip(("first", "second") if self.compares else ("item",), shown, strict=True))
            yield self.template.render(history=history, answers=" or ".join(ANSWERS[:: -1 if turned else 1]), **values)

    def lines(self, dataset: Dataset) -> dict[str, str]:
        """A short line for each item: title, then attributes, cut to `words`; the description where it has neither."""
        names = dataset.attributes
        return {
            row["item_id"]: self._line(row["title"], *(row[name].replace("|", ", ") for name in names))
            or self._line(row["description"])
            for row in dataset.items.to_dict("records")
        }

    def _line(self, *values: str) -> str:
        text = ". ".join(value for value in values if value)
        return " ".join(text.split()[: self.words])[: self.words * WORD_CHARS].rstrip()

    def histories(self, dataset: Dataset) -> dict[str, tuple[str, ...]]:
        """The latest item ids of each user, oldest first; without times, the last by item id."""
        ordered = dataset.interactions.sort_values(["user_id", "timestamp", "item_id"], na_position="first")
        items: dict[str, list[str]] = {}
        for user, item in zip(ordered["user_id"], ordered["item_id"], strict=True):
            items.setdefault(user, []).append(item)
        return {user: tuple(liked[-self.history :]) for user, liked in items.items()}

    def examples(self, dataset: Dataset, labelled: pd.DataFrame, seed: int) -> Iterator[Example]:
        """For each 'yes' of a user a 'no' of the same user's, as far as his candidates reach, in a seeded order.

        labelled: user_id, item_id, label over pseudo-cold items; dataset: the log without them. A negative drawn from
        anywhere but the candidates would teach that what is similar is wrong; one of another user's, to tell active
        users from others. Half of each answer's are asked turned, where the style has both orders; of two items each is
        shown first once, one right after the other.
        """
        lessons = _compared(labelled, seed) if self.compares else _labelled(labelled, seed, len(self.orders))
        prompts = self.prompts(dataset, (question for question, _ in lessons))
        for prompt, (_, liked) in zip(prompts, lessons, strict=True):
            yield Example(prompt, self.answers[0 if liked else 1])


def rivals_of(items: Sequence[str], count: int, seed: int, user: str) -> dict[str, list[str]]:
    """Of each of a user's candidates, `count` others, or as many as there are.

    They stand on a ring in an order drawn for the user; its neighbours (1 after, 1 before, 2 after, ...) are an item's
    rivals: every item is a rival as often, and a comparison with the one after is also that one's with the one before.
    """
    order = seeds.generator(seed, "judge", "rivals", user).permutation(len(items))
    ring = [sorted(items)[place] for place in order]
    steps = [way * step for step in range(1, len(ring)) for way in (1, -1)][: min(count, len(ring) - 1)]
    return {item: [ring[(place + step) % len(ring)] for step in steps] for place, item in enumerate(ring)}


def _labelled(labelled: pd.DataFrame, seed: int, orders: int) -> list[tuple[Question, bool]]:
    random = seeds.generator(seed, "judge", "examples")
    yes, no = labelled[labelled["label"]], labelled[~labelled["label"]]
    no = no.iloc[random.permutation(len(no))]
    wanted = no["user_id"].map(yes["user_id"].value_counts()).fillna(0)
    chosen = pd.concat([yes, no[no.groupby("user_id").cumcount() < wanted]])
    chosen = chosen.iloc[random.permutation(len(chosen))]
    turned = chosen.groupby("label").cumcount() % orders == 1
    rows = zip(chosen["user_id"], chosen["item_id"], turned, chosen["label"], strict=True)
    return [(Question(user, (item,), bool(turn)), bool(label)) for user, item, turn, label in rows]


def _compared(labelled: pd.DataFrame, seed: int) -> list[tuple[Question, bool]]:
    """Whether the first of the two items is the liked one."""
    random = seeds.generator(seed, "preference", "examples")
    labelled = labelled.iloc[random.permutation(len(labelled))]
    labelled = labelled.assign(turn=labelled.groupby(["user_id", "label"]).cumcount())
    yes, no = labelled[labelled["label"]], labelled[~labelled["label"]]
    pairs = yes.merge(no, on=["user_id", "turn"], suffixes=("_yes", "_no"))
    rows = zip(pairs["user_id"], pairs["item_id_yes"], pairs["item_id_no"], strict=True)
    return [
        lesson
        for user, liked, other in rows
        for lesson in ((Question(user, (liked, other)), True), (Question(user, (other, liked)), False))
    ]


def score(asked: Sequence[Signed], odds: Mapping[Question, float]) -> float:
    """The mean of the questions' log-odds, each with its sign; 0 without a question, NaN where one has none."""
    return sum(sign * odds[question] for question, sign in asked) / len(asked) if asked else 0.0


def stored(scores: NDArray[np.float64]) -> Completion:
    """The two answers' log-probabilities as text; what the model could not take is an error, asked again on resume."""
    if not np.isfinite(scores).all():
        return Completion(NO_SCORE, "error", 0)
    return Completion(json.dumps([float(score) for score in scores]), "stop", 0)


def log_odds(answer: Completion) -> float:
    """log p(first) - log p(second) of what was stored; NaN for an error. Raises InputError for what was not."""
    if answer.finish == "error":
        return float("nan")
    try:
        first, second = json.loads(answer.text)
        odds = float(first) - float(second)
    except (TypeError, ValueError):
        odds = float("nan")
    if not np.isfinite(odds):
        raise InputError(f"a stored answer of the judge, {answer.text[:40]!r}, is no pair of scores; remove the folder")
    return odds
