"""judge: would someone with this history like this item? Answered by the log-odds of yes over no, never by a verdict.

The history comes first and is the same for all of a user's candidates, so that an engine can compute it once.
`Preference` asks which of two items instead, in both orders, since models lean to one letter whatever stands there.
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
LETTERS = ("A", "B")
CONTENT_FREE = "N/A"
DRAWS = 64
NO_SCORE = "no finite score: the prompt is too long for the model, or the model overflowed"
VARIABLES = frozenset({"history", "item"})
TWO_VARIABLES = frozenset({"history", "first", "second"})
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
        return _template(self.style, VARIABLES, "history and item, both of them")

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

    def content_free(self, history: Sequence[str], lines: Mapping[str, str]) -> Prompt:
        """The same question about nothing: its log-odds are the prior to take away, see `calibrated`."""
        return self.template.render(history=[lines[one] for one in history], item=CONTENT_FREE)

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


def calibrated(odds: NDArray[np.float64], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of yes less those of the content-free question of the same history. [n] each.

    Yes and no stand in no order that could be swapped; what biases them is the model's lean to one word after this
    history, which a question without content shows (Zhao et al. 2021, "Calibrate Before Use").
    """
    return np.asarray(odds - prior)


@dataclass(frozen=True)
class Preference:
    """Two items, one user: which one? history, words: as the judge's."""

    style: str = "preference"
    history: int = 8
    words: int = 14

    @cached_property
    def template(self) -> Template:
        return _template(self.style, TWO_VARIABLES, "history, first and second, all of them")

    @property
    def prompt_hash(self) -> str:
        return self.template.hash

    @cached_property
    def _judge(self) -> Judge:
        return Judge(history=self.history, words=self.words)

    def prompts(self, dataset: Dataset, pairs: pd.DataFrame) -> Iterator[tuple[Prompt, Prompt]]:
        """Both orders of each row (user_id, first, second): (A is the first, A is the second)."""
        lines, histories = self._judge.lines(dataset), self._judge.histories(dataset)
        for user, first, second in zip(pairs["user_id"], pairs["first"], pairs["second"], strict=True):
            history = [lines[item] for item in histories[user]]
            yield preference_prompts(self.template, history, lines[first], lines[second])

    def examples(self, dataset: Dataset, labelled: pd.DataFrame, seed: int) -> Iterator[Example]:
        """For each 'yes' of a user one of his 'no', in both orders, so that no letter is right more often.

        labelled, dataset: as of `Judge.examples`, or of `pseudo_labelled`. A user without a 'no' gives none.
        """
        random = seeds.generator(seed, "preference", "examples")
        labelled = labelled.iloc[random.permutation(len(labelled))]
        columns = ["user_id", "item_id"]
        yes, no = labelled.loc[labelled["label"], columns], labelled.loc[~labelled["label"], columns]
        yes, no = (part.assign(turn=part.groupby("user_id").cumcount()) for part in (yes, no))
        pairs = yes.merge(no, on=["user_id", "turn"]).rename(columns={"item_id_x": "first", "item_id_y": "second"})
        for one, other in self.prompts(dataset, pairs):
            yield Example(one, LETTERS[0])
            yield Example(other, LETTERS[1])


def preference_prompts(template: Template, history: Sequence[str], first: str, second: str) -> tuple[Prompt, Prompt]:
    """The question with the first item as A, and with the second as A."""
    return (
        template.render(history=history, first=first, second=second),
        template.render(history=history, first=second, second=first),
    )


def preference(scores_ab: NDArray[np.float64], scores_ba: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds that the first item is preferred, averaged over both orders; 0 for a model that only likes a letter. [n]

    scores_ab, scores_ba: log-probabilities of LETTERS [n, 2] after each of the two prompts. NaN where one is NaN.
    """
    return np.asarray(((scores_ab[:, 0] - scores_ab[:, 1]) - (scores_ba[:, 0] - scores_ba[:, 1])) / 2)


def pseudo_labelled(dataset: Dataset, seed: int) -> tuple[Dataset, pd.DataFrame]:
    """(the log without each user's latest liked item, user_id, item_id, label): it is the yes, a drawn item the no.

    Liked: rated at least the user's mean. The no is drawn as often as items occur in the log, so that popularity does
    not tell the two apart, among those the user does not have. Users of a single item, and those who have so much that
    DRAWS draws bring nothing new, are left out.
    """
    log = dataset.interactions[dataset.interactions["item_id"].isin(set(dataset.items["item_id"]))]
    log = log.sort_values(["user_id", "timestamp", "item_id"], na_position="first")
    usual = log.groupby("user_id")["rating"].transform("mean")
    liked = log[log["rating"].isna() | (log["rating"] >= usual)].groupby("user_id").tail(1)
    items = log["item_id"].to_numpy()
    own: dict[str, set[str]] = {user: set(found) for user, found in log.groupby("user_id")["item_id"]}
    rows, held = [], set()
    for user, item in zip(liked["user_id"], liked["item_id"], strict=True):
        draws = seeds.generator(seed, "preference", user).integers(len(items), size=DRAWS)
        drawn = next((items[place] for place in draws if items[place] not in own[user]), None)
        if len(own[user]) > 1 and drawn is not None:
            rows += [(user, item, True), (user, drawn, False)]
            held.add((user, item))
    out = [pair in held for pair in zip(dataset.interactions["user_id"], dataset.interactions["item_id"], strict=True)]
    rest = dataset.interactions[~np.array(out, dtype=bool)]
    return Dataset(dataset.items, rest), pd.DataFrame(rows, columns=["user_id", "item_id", "label"])


def _template(style: str, variables: frozenset[str], shown: str) -> Template:
    template = load_template("judge", style)
    if template.variables != variables:
        asked = ", ".join(sorted(template.variables)) or "nothing"
        raise InputError(f"prompt {template.name} asks for {asked}; a judge is shown {shown}")
    return template
