"""Item descriptions: written from facts (describe), made longer (expand) or put in other words (paraphrase).

A template that uses `description` rewrites one and needs it; a template of `facts` alone writes one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from llm_aug import seeds
from llm_aug.data import Completion, Dataset, Example, Kind, Pair, Reject, Request
from llm_aug.errors import InputError
from llm_aug.prompt import Template, load_template
from llm_aug.tasks import Rejected
from llm_aug.text import CHAT_TOKENS, capped, is_whole, normalised, one_line, sentences

FEWEST_WORDS = 4  # a shorter description ("Office chair.") holds nothing to rewrite
PROMPT_WORDS = 120  # a 99th percentile film plot; longer ones push small models out of their window
MOST_NAMES = 12
DROPOUT = 0.15
_LABEL = re.compile(r"^\W*(?:new |longer |rewritten )?(?:description|rewrite|answer)\W*:[\s*]*", re.IGNORECASE)


@dataclass(frozen=True)
class Rewrite:
    """copies: answers per item. limit: items asked at most. items: ids. attributes: columns (default: all of both)."""

    style: str = "describe"
    copies: int = 1
    limit: int | None = None
    seed: int = 0
    items: Sequence[str] | None = None
    attributes: Sequence[str] | None = None
    kind: Kind = "description"
    stage: str = "generate"

    @cached_property
    def template(self) -> Template:
        template = load_template("rewrite", self.style)
        unknown = template.variables - {"facts", "description"}
        if unknown:
            raise InputError(f"prompt {template.name} asks for {min(unknown)!r}; a rewrite has facts and description")
        return template

    @property
    def name(self) -> str:
        return self.template.name

    @property
    def prompt_hash(self) -> str:
        return self.template.hash

    @property
    def rewrites(self) -> bool:
        """Whether there must be a description already."""
        return "description" in self.template.variables

    def requests(self, dataset: Dataset) -> Iterator[Request | Reject]:
        """In a seeded order, because files are often sorted by popularity and `limit` takes the first ones."""
        rows = self._rows(dataset)
        asked = 0
        for index in seeds.generator(self.seed, "rewrite", "order").permutation(len(rows)):
            if asked == self.limit:
                return
            row = rows[index]
            item, attributes = row["item_id"], self._attributes(dataset)
            description = _plain(row["description"])
            if self.rewrites and len(description.split()) < FEWEST_WORDS:
                yield Reject(item, self.stage, "no_description", description)
                continue
            if not any(_plain(row[name]) for name in ("title", *attributes)):
                yield Reject(item, self.stage, "no_facts")
                continue
            asked += 1
            prompt = self._prompt(facts(row, attributes), capped(description, PROMPT_WORDS))
            for copy in range(self.copies):
                yield Request(f"{self.name}/{item}/{copy}", item, prompt, parents=(item,))

    def parse(self, request: Request, completion: Completion) -> str | tuple[Pair, ...]:
        """Reasons: empty, truncated (cut by max_tokens before its first whole sentence), echo (of the prompt)."""
        text = _LABEL.sub("", one_line(completion.text)).strip().strip('"“”').strip()
        if not text:
            raise Rejected("empty")
        if completion.finish == "length":
            parts = sentences(text)
            text = " ".join(parts if is_whole(parts[-1]) else parts[:-1])
            if not text:
                raise Rejected("truncated")
        if _is_echo(text, request.prompt.user):
            raise Rejected("echo")
        return text

    def examples(self, dataset: Dataset) -> Iterator[Example]:
        """The answer is always the catalogue's own description; what the prompt shows of it is made poorer."""
        for row in self._rows(dataset):
            answer = capped(_plain(row["description"]), PROMPT_WORDS)
            if len(answer.split()) < FEWEST_WORDS:
                continue
            rng = seeds.generator(self.seed, "examples", self.name, row["item_id"])
            poorer = noisy(answer, rng) if self.template.name == "rewrite/paraphrase" else shorter(answer, rng)
            yield Example(self._prompt(facts(row, self._attributes(dataset)), poorer), answer)

    def _prompt(self, item_facts: str, description: str) -> Any:
        values = {"facts": item_facts, "description": description}
        return self.template.render(**{name: values[name] for name in self.template.variables})

    def _attributes(self, dataset: Dataset) -> Sequence[str]:
        unknown = set(self.attributes or ()) - set(dataset.attributes)
        if unknown:
            raise InputError(f"items have no attribute {min(unknown)!r}; known: {', '.join(dataset.attributes)}")
        return dataset.attributes if self.attributes is None else self.attributes

    def _rows(self, dataset: Dataset) -> list[dict[str, Any]]:
        if self.items is None:
            rows: list[dict[str, Any]] = dataset.items.to_dict("records")
            return rows
        unknown = set(self.items) - set(dataset.items["item_id"])
        if unknown:
            raise InputError(f"{len(unknown)} items to rewrite are not in the catalogue, for example {min(unknown)!r}")
        chosen: list[dict[str, Any]] = dataset.items[dataset.items["item_id"].isin(set(self.items))].to_dict("records")
        return chosen


def facts(row: Mapping[str, Any], attributes: Sequence[str]) -> str:
    """'Title: ...', 'Genres: ...' line by line; empty values left out, lists cut after MOST_NAMES names."""
    lines = []
    for name in ("title", *attributes):
        value = _plain(row[name])
        if name != "title":
            names = [part.strip() for part in re.split(r"[|;,]", value) if part.strip()]
            value = ", ".join(names[:MOST_NAMES])
        if value:
            lines.append(f"{name.replace('_', ' ').capitalize()}: {value}")
    return "\n".join(lines)


def shorter(text: str, rng: np.random.Generator) -> str:
    """Some of its sentences in order; of a single sentence its first half."""
    parts = sentences(text)
    if len(parts) == 1:
        kept = text.split()
        return " ".join(kept[: max(FEWEST_WORDS, len(kept) // 2)])
    chosen = sorted(rng.choice(len(parts), size=int(rng.integers(1, len(parts))), replace=False))
    return " ".join(parts[index] for index in chosen)


def noisy(text: str, rng: np.random.Generator) -> str:
    """Its sentences in another order, each word dropped with probability DROPOUT: what a denoiser has to undo."""
    parts = sentences(text)
    shuffled = " ".join(parts[index] for index in rng.permutation(len(parts))).split()
    kept = [word for word in shuffled if rng.random() >= DROPOUT]
    return " ".join(kept or shuffled)


def _plain(value: Any) -> str:
    """Item text as data: one line, so that it cannot pose as another field, and without chat tokens."""
    return one_line(CHAT_TOKENS.sub(" ", str(value)))


def _is_echo(answer: str, asked: str) -> bool:
    """The answer is part of the prompt, or gives back two of its labelled lines."""
    said, prompt = normalised(answer), normalised(asked)
    lines = {normalised(line) for line in asked.splitlines() if ":" in line}
    return f" {said} " in f" {prompt} " or prompt in said or sum(line in said for line in lines) >= 2
