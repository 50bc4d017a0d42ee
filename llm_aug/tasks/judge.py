"""judge: would someone with this history like this item? Answered by the log-odds of yes over no, never by a verdict.

The history comes first and is the same for all of a user's candidates, so that an engine can compute it once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_aug import seeds
from llm_aug.data import Completion, Dataset, Example, Prompt
from llm_aug.errors import InputError
from llm_aug.prompt import Template, load_template

ANSWERS = ("yes", "no")
NO_SCORE = "no finite score: the prompt is too long for the model, or the model overflowed"
VARIABLES = frozenset({"history", "item"})
WORD_CHARS = 16  # a "word" of 10,000 characters would push the whole history out of a small model's window


@dataclass(frozen=True)
class Judge:
    """history: how many items of a user are shown, the latest. words: how many words of an item's line."""

    style: str = "history"
    history: int = 8
    words: int = 14

    def __post_init__(self) -> None:
        if self.history < 1 or self.words < 1:
            raise InputError(f"judge: history ({self.history}) and words ({self.words}) are at least 1")

    @cached_property
    def template(self) -> Template:
        template = load_template("judge", self.style)
        if template.variables != VARIABLES:
            asked = ", ".join(sorted(template.variables)) or "nothing"
            raise InputError(
                f"prompt {template.name} asks for {asked}; a judge is shown history and item, both of them"
            )
        return template

    @property
    def prompt_hash(self) -> str:
        return self.template.hash

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

    def prompt(self, history: Sequence[str], item_id: str, lines: Mapping[str, str]) -> Prompt:
        return self.template.render(history=[lines[one] for one in history], item=lines[item_id])

    def prompts(self, dataset: Dataset, pairs: pd.DataFrame) -> Iterator[Prompt]:
        """One for each row of pairs (user_id, item_id), in order; dataset: the log that the histories come from."""
        lines, histories = self.lines(dataset), self.histories(dataset)
        for user, item in zip(pairs["user_id"], pairs["item_id"], strict=True):
            yield self.prompt(histories[user], item, lines)

    def examples(self, dataset: Dataset, labelled: pd.DataFrame, seed: int, negatives: int = 1) -> Iterator[Example]:
        """For each 'yes' of a user, `negatives` times a 'no' of the same user's, as far as his candidates reach.

        labelled: user_id, item_id, label over pseudo-cold items; dataset: the log without them. A negative drawn from
        anywhere but the candidates would teach that what is similar is wrong; one of another user's, to tell active
        users from others.
        """
        random = seeds.generator(seed, "judge", "examples")
        yes, no = labelled[labelled["label"]], labelled[~labelled["label"]]
        no = no.iloc[random.permutation(len(no))]
        wanted = no["user_id"].map(yes["user_id"].value_counts()).fillna(0) * negatives
        chosen = pd.concat([yes, no[no.groupby("user_id").cumcount() < wanted]])
        chosen = chosen.iloc[random.permutation(len(chosen))]
        for prompt, label in zip(self.prompts(dataset, chosen), chosen["label"], strict=True):
            yield Example(prompt, ANSWERS[0] if label else ANSWERS[1])


def stored(scores: NDArray[np.float64]) -> Completion:
    """The log-probabilities of ANSWERS as text; what the model could not take is an error, asked again on resume."""
    if not np.isfinite(scores).all():
        return Completion(NO_SCORE, "error", 0)
    return Completion(json.dumps([float(score) for score in scores]), "stop", 0)


def log_odds(answer: Completion) -> float:
    """log p(yes) - log p(no) of what was stored; NaN for an error. Raises InputError for what `stored` never wrote."""
    if answer.finish == "error":
        return float("nan")
    try:
        yes, no = json.loads(answer.text)
        odds = float(yes) - float(no)
    except (TypeError, ValueError):
        odds = float("nan")
    if not np.isfinite(odds):
        raise InputError(f"a stored answer of the judge, {answer.text[:40]!r}, is no pair of scores; remove the folder")
    return odds
