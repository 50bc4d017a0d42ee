"""The values that a catalogue uses for an attribute, and what a model says of them: "genres: comedy, Drama." -> values.

A value counts once two items share it: one item's text cannot put words into the question about another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from llm_aug.data import Dataset
from llm_aug.errors import InputError
from llm_aug.tasks import Rejected
from llm_aug.text import CHAT_TOKENS, is_blank, normalised, one_line

FEWEST_ITEMS = 2
MOST_VALUES = 64  # a column with more is open (brands, directors): filled where it is named, and not by default
COVERED = 0.8  # of all values of a closed column are shared by items
SHOWN = 32  # values in a prompt: those that the item's text names first, then the most used
LONGEST_VALUE = 60  # characters; what is longer is prose
_MARKS = "|;,"


@dataclass(frozen=True)
class ClosedSet:
    """counts: value in its usual spelling -> items that have it, most first. mark: what stands between values.

    most: an item has so many. covered: the share of the column's values that items share.
    """

    attribute: str
    counts: Mapping[str, int]
    mark: str
    most: int
    covered: float

    @cached_property
    def known(self) -> dict[str, str]:
        """Normalised -> as the catalogue writes it."""
        return {normalised(value): value for value in self.counts}

    @property
    def numeric(self) -> bool:
        return all(re.fullmatch(r"[\d.,\s-]+", value) for value in self.counts)

    @property
    def closed(self) -> bool:
        """Small, shared and of words: numbers (years, minutes) are measured, not chosen."""
        return 2 <= len(self.counts) <= MOST_VALUES and self.covered >= COVERED and not self.numeric

    def values(self, cell: str) -> list[str]:
        """The shared values in a cell of the catalogue."""
        parts = (self.known.get(normalised(part)) for part in split(cell, self.mark))
        return list(dict.fromkeys(part for part in parts if part is not None))

    def choices(self, text: str) -> list[str]:
        """At most SHOWN values, in the order of their use; of a larger set those that the text names come before."""
        said = normalised(text).split()
        spans = (" ".join(said[at : at + size]) for size in range(1, 6) for at in range(len(said)))
        named = [self.known[span] for span in spans if span in self.known] if len(self.counts) > SHOWN else []
        chosen = set(list(dict.fromkeys([*named, *self.counts]))[:SHOWN])
        return [value for value in self.counts if value in chosen]

    def shown(self, values: Sequence[str]) -> str:
        """As prompts and examples write them."""
        return (", " if self.mark.strip() == "," else "; ").join(values)

    def written(self, values: Sequence[str]) -> str:
        """As a sample holds them, and as the catalogue would: 'genres: Comedy|Drama'."""
        return f"{self.attribute}: {self.mark.join(values)}"

    def read(self, answer: str, cut: bool) -> str:
        """The sample's text. cut: the answer was ended by max_tokens, so that its last value may be half a one.

        Rejected: empty, truncated, not_missing (speaks of something else), unknown_value, too_many_values.
        """
        said: list[str] = []
        label = normalised(self.attribute.replace("_", " "))
        for line in filter(None, (one_line(line) for line in answer.splitlines())):
            before, colon, after = line.partition(":")
            if colon and normalised(line) not in self.known and normalised(before.replace("_", " ")) != label:
                raise Rejected("not_missing")
            said += self._parts(after if colon and normalised(line) not in self.known else line)
        if cut and said:
            said = said[:-1]
            if not said:
                raise Rejected("truncated")
        if not said:
            raise Rejected("empty")
        if any(normalised(part) not in self.known for part in said):
            raise Rejected("unknown_value")
        values = list(dict.fromkeys(self.known[normalised(part)] for part in said))
        if len(values) > self.most:
            raise Rejected("too_many_values")
        return self.written(values)

    def _parts(self, line: str) -> list[str]:
        """By | and ;, and by commas where what stands between the others is no value."""
        found: list[str] = []
        for part in re.split(r"[|;]", line):
            found += [part] if normalised(part) in self.known else part.split(",")
        return [part for part in found if normalised(part)]


def split(cell: str, mark: str) -> list[str]:
    """The values of a cell as one-line text; none of a cell that says nothing."""
    parts = (one_line(CHAT_TOKENS.sub(" ", part)) for part in cell.split(mark.strip()))
    return [part for part in parts if not is_blank(part) and len(part) <= LONGEST_VALUE]


def closed_sets(dataset: Dataset, attributes: Sequence[str], named: bool) -> dict[str, ClosedSet]:
    """Of the columns that have one; where they were named by the user, columns with many values have one as well.

    Raises InputError where a named column, or none at all, has shared values.
    """
    found = {
        name: closed_set(name, [str(cell) for part in dataset.values(name) for cell in part]) for name in attributes
    }
    usable = {name: one for name, one in found.items() if one.closed or (named and len(one.counts) >= 2)}
    if named and len(usable) < len(found):
        lacking = next(name for name in found if name not in usable)
        raise InputError(f"attribute {lacking!r} has no values that items share, so none to choose from; leave it out")
    if not usable:
        raise InputError(
            f"no attribute has a closed set of 2 to {MOST_VALUES} values that items share (looked at: "
            f"{', '.join(found) or 'none'}); name the columns to fill by the option 'attributes'"
        )
    return usable


def closed_set(attribute: str, cells: Sequence[str]) -> ClosedSet:
    sign = next((sign for sign in _MARKS if any(sign in cell for cell in cells)), ",")
    spaced = sign != "|" or any("| " in cell for cell in cells)
    mark = f"{sign} " if spaced else sign
    rows = [split(cell, mark) for cell in cells]
    spellings = Counter(value for row in rows for value in dict.fromkeys(row))
    usual = {normalised(value): value for value, _ in reversed(spellings.most_common())}
    counts = Counter(usual[value] for row in rows for value in {normalised(part): None for part in row})
    shared = {value: count for value, count in counts.most_common() if count >= FEWEST_ITEMS}
    covered = sum(shared.values()) / max(1, counts.total())
    return ClosedSet(attribute, shared, mark, max(map(len, rows), default=0), covered)
