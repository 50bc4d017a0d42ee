"""judge: would someone with this history like this item? Answered by the log-odds of yes over no, never by a verdict.

The history comes first and is the same for all of a user's candidates, so that an engine can compute it once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from llm_aug import seeds
from llm_aug.data import Dataset, Example, Prompt
from llm_aug.prompt import Template, load_template

ANSWERS = ("yes", "no")


@dataclass(frozen=True)
class Judge:
    """history: how many items of a user are shown, the latest. words: how many words of an item's line."""

    style: str = "history"
    history: int = 8
    words: int = 14

    @cached_property
    def template(self) -> Template:
        return load_template("judge", self.style)

    @property
    def prompt_hash(self) -> str:
        return self.template.hash

    def lines(self, dataset: Dataset) -> dict[str, str]:
        """A short line for each item: title, then attributes, cut to `words`."""
        columns = ["title", *dataset.attributes]
        return {
            row["item_id"]: " ".join(
                ". ".join(str(row[name]).replace("|", ", ") for name in columns if row[name]).split()[: self.words]
            )
            for row in dataset.items.to_dict("records")
        }

    def histories(self, dataset: Dataset) -> dict[str, tuple[str, ...]]:
        """The latest item ids of each user, oldest first; without times, the last by item id."""
        ordered = dataset.interactions.sort_values(["user_id", "timestamp", "item_id"], na_position="first")
        latest = ordered.groupby("user_id", sort=False).tail(self.history)
        return {str(user): tuple(rows["item_id"]) for user, rows in latest.groupby("user_id", sort=False)}

    def prompt(self, history: Sequence[str], item_id: str, lines: Mapping[str, str]) -> Prompt:
        return self.template.render(history=[lines[one] for one in history], item=lines[item_id])

    def examples(self, dataset: Dataset, labelled: pd.DataFrame, seed: int, negatives: int = 1) -> Iterator[Example]:
        """As many 'no' as `negatives` times the 'yes', all from one funnel's own candidate lists.

        labelled: user_id, item_id, label over pseudo-cold items; dataset: the log without them. A negative drawn from
        anywhere else would teach that what is similar is wrong.
        """
        lines, histories = self.lines(dataset), self.histories(dataset)
        rows = labelled[labelled["user_id"].isin(list(histories))]
        random = seeds.generator(seed, "judge", "examples")
        yes, no = rows[rows["label"]], rows[~rows["label"]]
        kept = random.permutation(len(no))[: len(yes) * negatives]
        chosen = pd.concat([yes, no.iloc[kept]])
        for position in random.permutation(len(chosen)):
            row = chosen.iloc[position]
            prompt = self.prompt(histories[row["user_id"]], row["item_id"], lines)
            yield Example(prompt, ANSWERS[0] if row["label"] else ANSWERS[1])
