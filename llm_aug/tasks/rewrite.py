"""Item texts: written from facts, put in other words, made longer or shorter, cleaned, fused, or read for attributes.

What a style asks for stands in its template, what it needs and promises in `rewrite_styles.STYLES`. A file of one's
own is a style by the variables that it asks for; one named as ours (my/trim.md) is held to what ours promises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from llm_aug import seeds
from llm_aug.data import Completion, Dataset, Example, Kind, Pair, Prompt, Reject, Request
from llm_aug.errors import InputError
from llm_aug.prompt import Template
from llm_aug.tasks import Rejected
from llm_aug.tasks.closed_sets import ClosedSet, closed_sets
from llm_aug.tasks.prompted import Prompted
from llm_aug.tasks.reading import is_echo, shown
from llm_aug.tasks.rewrite_lessons import dealt, ended
from llm_aug.tasks.rewrite_styles import OWN, STYLES, Style, fault
from llm_aug.tasks.told import Facts
from llm_aug.text import capped, is_blank, is_whole, one_line, sentences

PROMPT_WORDS = 120  # a 99th percentile film plot; longer ones push small models out of their window
FACT_WORDS = 40  # of a title or an attribute: more is prose, or an attack on the model's window
WORD_CHARS = 16  # on the average: a "word" of 10,000 characters is as long as 625
MOST_NAMES = 12
DROPOUT = 0.15  # of the facts in a lesson, where the style drops any
VARIABLES = frozenset({"choices", "description", "facts", "missing", "texts"})
_LABEL = re.compile(
    r"^\W*(?:(?:new|longer|shorter|condensed|trimmed|rewritten|fused|final) )?(?:description|rewrite|answer)\W*:[\s*]*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Asked(Request):
    """source: the text that the answer is measured by. gap: the attribute to fill, where one is asked for."""

    source: str = ""
    gap: ClosedSet | None = None


@dataclass(frozen=True)
class _Columns:
    """Of one catalogue. facts: attributes that are shown. texts: columns of prose. gaps: attributes to fill."""

    facts: Sequence[str]
    texts: Sequence[str]
    gaps: Mapping[str, ClosedSet]


@dataclass(frozen=True)
class Rewrite(Prompted):
    """copies: answers per item, or per missing attribute. limit: items asked at most. items: ids (default: all).

    attributes: columns that are shown as facts, or that `attributes` fills (default: all, those with a closed set).
    sources: columns of prose, such as reviews or another catalogue's description, that `fuse` reads beside our own.
    """

    task: ClassVar[str] = "rewrite"
    reads_interactions: ClassVar[bool] = False
    style: str = "describe"
    copies: int = 1
    limit: int | None = None
    seed: int = 0
    items: Sequence[str] | None = None
    attributes: Sequence[str] | None = None
    sources: Sequence[str] = ()

    def variables(self, template: Template) -> tuple[Set[str], Set[str]]:
        return set(self._rules(template).needs), VARIABLES

    def _rules(self, template: Template) -> Style:
        own = OWN if not {"missing", "choices"} & template.variables else STYLES["attributes"]
        return STYLES.get(template.name.removeprefix("rewrite/"), own)

    @property
    def rules(self) -> Style:
        return self._rules(self.template)

    @property
    def kind(self) -> Kind:
        return self.rules.kind

    @property
    def stage(self) -> str:
        return "generate"

    def requests(self, dataset: Dataset) -> Iterator[Asked | Reject]:
        """In a seeded order, because files are often sorted by popularity and `limit` takes the first ones.

        Rejects: no_description (or one too short for the style), no_facts, one_source (nothing to fuse),
        nothing_missing.
        """
        columns, numbers = self._columns(dataset), self._numbers(dataset)
        asked = 0
        order = seeds.generator(self.seed, "rewrite", "order").permutation(len(numbers))
        for row in dataset.rows(numbers[order]):
            if asked == self.limit:
                return
            reason = self._lacks(row, columns)
            if reason:
                yield Reject(row["item_id"], self.stage, reason, shown(row["description"]))
                continue
            asked += 1
            yield from self._asked(row, columns)

    def _lacks(self, row: Mapping[str, Any], columns: _Columns) -> str:
        """Why this item cannot be asked about, or ''."""
        if columns.gaps and not _gaps(row, columns):
            return "nothing_missing"
        if "description" in self.template.variables and len(shown(row["description"]).split()) < self.rules.fewest:
            return "no_description"
        if not any(shown(row[name]) for name in ("title", *columns.facts)):
            return "no_facts"
        return "one_source" if "texts" in self.template.variables and not _texts(row, columns.texts) else ""

    def _asked(self, row: Mapping[str, Any], columns: _Columns) -> Iterator[Asked]:
        item, description = row["item_id"], _fitting(shown(row["description"]), PROMPT_WORDS)
        texts = _texts(row, columns.texts) if "texts" in self.template.variables else {}
        source = " ".join(texts.values()) or description
        for gap in _gaps(row, columns) if columns.gaps else [None]:
            others = [name for name in columns.facts if gap is None or name != gap.attribute]
            prompt = self._prompt(facts(row, others), description, texts, gap, f"{row['title']} {description}")
            part = "" if gap is None else f"{quote(gap.attribute, safe='')}/"
            for copy in range(self.copies):
                key = f"{self.name}/{part}{item}/{copy}"
                yield Asked(key, item, prompt, parents=(item,), source=source, gap=gap)

    def parse(self, request: Request, completion: Completion) -> str | tuple[Pair, ...]:
        """Reasons: empty, truncated (cut by max_tokens before its first whole sentence), echo (of the prompt), those
        of the style's checks and of `ClosedSet.read`. A plain Request, asked elsewhere, tells no source to check by.
        """
        asked = request if isinstance(request, Asked) else None
        if self.kind == "attributes":
            if asked is None or asked.gap is None:
                raise Rejected("not_missing")
            return asked.gap.read(completion.text, completion.finish == "length")
        text = _LABEL.sub("", one_line(completion.text)).strip().strip('"“”').strip()
        if not text:
            raise Rejected("empty")
        if completion.finish == "length":
            parts = sentences(text)
            text = " ".join(parts if is_whole(parts[-1]) else parts[:-1])
            if not text:
                raise Rejected("truncated")
        source = "" if asked is None else asked.source
        reason = source and fault(self.rules, source, text, request.prompt.user)
        if reason:
            raise Rejected(reason)
        if is_echo(text, request.prompt.user, source if self.rules.extracts else ""):
            raise Rejected("echo")
        return text

    def examples(self, dataset: Dataset) -> Iterator[Example]:
        return (Example(asked.prompt, answer) for asked, answer in self.lessons(dataset))

    def lessons(self, dataset: Dataset) -> Iterator[tuple[Asked, str]]:
        """Questions and answers that the catalogue teaches by its own texts and values; none that `parse` refuses."""
        columns = self._columns(dataset)
        for row in dataset.rows(self._numbers(dataset)):
            rng = seeds.generator(self.seed, "examples", self.name, row["item_id"])
            found = self._gap_lessons(row, columns, rng) if columns.gaps else self._text_lessons(row, columns, rng)
            yield from (lesson for lesson in found if self._accepts(*lesson))

    def _accepts(self, asked: Asked, answer: str) -> bool:
        with suppress(Rejected):
            return bool(self.parse(asked, Completion(answer, "stop", 0)))
        return False

    def _text_lessons(
        self, row: Mapping[str, Any], columns: _Columns, rng: np.random.Generator
    ) -> Iterator[tuple[Asked, str]]:
        text = _fitting(shown(row["description"]), PROMPT_WORDS)
        if len(text.split()) < self.rules.fewest and {"description", "texts"} & self.template.variables:
            return
        known = _facts(row, _some(columns.facts, rng) if self.rules.drops else columns.facts)
        texts: dict[str, str] = {}
        if "texts" in self.template.variables:
            labels = ["description", *(columns.texts or ["other text"])]
            texts, answer = dealt(text, known, labels, rng)
            lesson = ""
        else:
            lesson, answer = self.rules.lesson(text, known, rng)
        if known and answer:
            item, source = row["item_id"], " ".join(texts.values()) or lesson
            prompt = self._prompt(_written(known), lesson, texts)
            yield Asked(f"{self.name}/{item}", item, prompt, parents=(item,), source=source), ended(answer)

    def _gap_lessons(
        self, row: Mapping[str, Any], columns: _Columns, rng: np.random.Generator
    ) -> Iterator[tuple[Asked, str]]:
        """A value that is there is taken out and asked for."""
        item, text = row["item_id"], _fitting(shown(row["description"]), PROMPT_WORDS)
        for gap in columns.gaps.values() if len(text.split()) >= self.rules.fewest else ():
            values = gap.values(str(row[gap.attribute]))
            said = f"{row['title']} {text}"
            if not values or not set(values) <= set(gap.choices(said)):
                continue
            others = _some([name for name in columns.facts if name != gap.attribute], rng)
            prompt = self._prompt(facts(row, others), text, {}, gap, said)
            key = f"{self.name}/{quote(gap.attribute, safe='')}/{item}"
            yield Asked(key, item, prompt, (item,), text, gap), f"{gap.attribute}: {gap.shown(values)}"

    def _prompt(
        self, item_facts: str, description: str, texts: Mapping[str, str], gap: ClosedSet | None = None, said: str = ""
    ) -> Prompt:
        """said: what the item's text says, by which the choices are chosen."""
        values = {
            "facts": item_facts,
            "description": description,
            "texts": "\n".join(f"{_label(name)}: {text}" for name, text in texts.items() if text),
            "missing": "" if gap is None else gap.attribute,
            "choices": "" if gap is None else gap.shown(gap.choices(said)),
        }
        return self.template.render(**{name: values[name] for name in self.template.variables})

    def _columns(self, dataset: Dataset) -> _Columns:
        known = dataset.attributes
        for name in (*(self.attributes or ()), *self.sources):
            if name not in known:
                raise InputError(f"items have no attribute {name!r}; known: {', '.join(known)}")
        chosen = [name for name in (known if self.attributes is None else self.attributes) if name not in self.sources]
        if self.kind != "attributes":
            return _Columns(chosen, tuple(self.sources), {})
        gaps = closed_sets(dataset, chosen, self.attributes is not None)
        return _Columns([name for name in known if name not in self.sources], tuple(self.sources), gaps)

    def _numbers(self, dataset: Dataset) -> NDArray[np.int64]:
        """The rows of the items to be asked about."""
        if self.items is None:
            return np.arange(sum(map(len, dataset.values("item_id"))))
        chosen = set(self.items)
        places = {
            item: row for row, item in enumerate(chain.from_iterable(dataset.values("item_id"))) if item in chosen
        }
        unknown = chosen - set(places)
        if unknown:
            raise InputError(f"{len(unknown)} items to rewrite are not in the catalogue, for example {min(unknown)!r}")
        return np.array([*places.values()], np.int64)


def facts(row: Mapping[str, Any], attributes: Sequence[str]) -> str:
    """'Title: ...', 'Genres: ...' line by line."""
    return _written(_facts(row, attributes))


def _written(found: Facts) -> str:
    return "\n".join(f"{label}: {value}" for label, value in found)


def _facts(row: Mapping[str, Any], attributes: Sequence[str]) -> Facts:
    """("Title", ...), ("Genres", ...); empty values left out, lists cut after MOST_NAMES names."""
    found = []
    for name in ("title", *attributes):
        value = shown(row[name])
        if name != "title":
            value = ", ".join(_parts(value)[:MOST_NAMES])
        if value:
            found.append((_label(name), _fitting(value, FACT_WORDS)))
    return found


def _fitting(text: str, limit: int) -> str:
    """At most so many words, whole sentences where the first one fits, and no more characters than they may have."""
    short = text if len(text.split()) <= limit else capped(text, limit)
    return short[: limit * WORD_CHARS].strip()


def _parts(value: str) -> list[str]:
    return [part.strip() for part in re.split(r"[|;,]", value) if part.strip()]


def _label(column: str) -> str:
    return column.replace("_", " ").capitalize()


def _texts(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str]:
    """The item's texts by their column, empty ones left out; together about twice as long as one alone may be."""
    found = {name: text for name in ("description", *columns) if (text := shown(row[name]))}
    return {name: _fitting(text, 2 * PROMPT_WORDS // max(2, len(found))) for name, text in found.items()}


def _gaps(row: Mapping[str, Any], columns: _Columns) -> list[ClosedSet]:
    return [gap for name, gap in columns.gaps.items() if is_blank(str(row[name]))]


def _some(columns: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Each dropped with probability DROPOUT."""
    return [name for name in columns if rng.random() >= DROPOUT]
