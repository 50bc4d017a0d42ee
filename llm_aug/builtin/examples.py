"""Pairs that people wrote, in the product's own prompts: facts -> description, one wording -> another.

One example, before it is rendered: facts "Title: The Eagle\\nFood: Chinese", answer "The Eagle serves Chinese food."
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_aug.data import Prompt
from llm_aug.prompt import load_template
from llm_aug.tasks.rewording import is_changed
from llm_aug.tasks.rewrite_styles import STYLES, fault

Row = dict[str, Any]
Facts = list[tuple[str, str]]

ANSWER_CHARACTERS = 480  # about 120 tokens
FEWEST_CHARACTERS = 20
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<! [A-Z]\.)\s+(?=[A-Z\"'(])")  # not after an initial: "Alfred E. Green"


@dataclass(frozen=True)
class Document:
    """What the model reads: prose (no prompt) or one answered prompt. task is also the name in the loss table."""

    task: str
    source: str
    answer: str
    prompt: Prompt | None = None

    @property
    def characters(self) -> int:
        return len(self.answer) + (len(self.prompt.system) + len(self.prompt.user) if self.prompt else 0)


def cut(text: str, characters: int) -> str:
    """The longest run of whole sentences from the start of text that fits; '' where not even one does."""
    if len(text) <= characters:
        return text
    ends = [match.start() for match in _SENTENCE_END.finditer(text, 0, characters)]
    return text[: ends[-1]] if ends else ""


def pair_facts(row: Row) -> Facts:
    """Facts of a data-to-text row: dart triples, e2e `name[value]` or rnnlg `name = value`.

    [] where the row is not about one thing with a name.
    """
    text = row["input"]
    if row["source"] == "e2e_nlg":
        found = re.findall(r"(\w+)\[([^\]]*)\]", text)
    elif row["source"] == "rnnlg_sfx":
        act, _, slots = text.partition(": ")
        if act.split("| ")[-1] not in ("inform", "recommend"):
            return []
        found = [(name, value) for name, _, value in (slot.partition(" = ") for slot in slots.split("; "))]
    else:
        triples = [triple.split(" | ") for triple in text.split("; ")]
        if len({triple[0] for triple in triples}) != 1 or any(len(triple) != 3 for triple in triples):
            return []
        found = [("name", triples[0][0]), *((name, value) for _, name, value in triples)]
    titles = [value for name, value in found if name == "name"]
    rest = [(_spaced(name), value) for name, value in found if name != "name" and value]
    return [("title", titles[0]), *rest] if titles and rest else []


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).lower()


def lines(facts: Facts, rng: np.random.Generator) -> str:
    """'Name: value' lines; names start with a capital in most examples, in lower case in the others."""
    capital = rng.random() < 0.7
    return "\n".join(f"{name.capitalize() if capital else name}: {value}" for name, value in facts if value)


def describe(rows: Sequence[Row], rng: np.random.Generator) -> Iterator[Document]:
    template = load_template("rewrite", "describe")
    for row in rows:
        answer = cut(row["output"].strip(), ANSWER_CHARACTERS)
        if (facts := pair_facts(row)) and len(answer) >= FEWEST_CHARACTERS:
            yield Document("describe", row["source"], answer, template.render(facts=lines(facts, rng)))


def paraphrase(rows: Sequence[Row], rng: np.random.Generator) -> Iterator[Document]:
    """Two wordings of one input, or the pair, where the second keeps what the style has to keep."""
    template = load_template("rewrite", "paraphrase")
    for facts, before, after in _wordings(rows):
        prompt = template.render(facts=lines(facts, rng), description=before)
        sound = FEWEST_CHARACTERS <= len(after) <= ANSWER_CHARACTERS and len(before) <= ANSWER_CHARACTERS
        if sound and is_changed(before, after) and not fault(STYLES["paraphrase"], before, after, prompt.user):
            yield Document("paraphrase", rows[0]["source"], after, prompt)


def _wordings(rows: Sequence[Row]) -> Iterator[tuple[Facts, str, str]]:
    seen: dict[str, str] = {}
    for row in rows:
        if row["relation"] == "data2text":
            facts = pair_facts(row)
            if facts and (before := seen.get(row["input"])):
                yield facts, before, row["output"]
            seen[row["input"]] = row["output"]
        elif name := re.match(r"[A-Z][\w'’-]+(?: [A-Z][\w'’-]+)+", row["input"]):
            yield [("title", name[0])], row["input"], row["output"]
