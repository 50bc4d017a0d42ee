"""A profile in attribute values, of items that were drawn: "Genres: Comedy, Drama" and "Year: 1994 to 1999"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from llm_aug.data import Dataset
from llm_aug.errors import InputError
from llm_aug.tasks.grounding import moment, release_column, shown

VALUES = 3  # of an attribute in a profile


class Mix:
    """What items have in common: the values that most of them carry, and the years they span.

    A value of one item alone would name the item, and so does no part of a mix.
    """

    def __init__(self, dataset: Dataset, attributes: Sequence[str] | None, release: str | None) -> None:
        unknown = set(attributes or ()) - set(dataset.attributes)
        if unknown:
            raise InputError(f"items have no attribute {min(unknown)!r}; known: {', '.join(dataset.attributes)}")
        self.names = list(dataset.attributes if attributes is None else attributes)
        self.release = release_column(dataset.attributes, release)
        rows = dataset.items.to_dict("records")
        self.values = {row["item_id"]: {name: values(row[name]) for name in self.names} for row in rows}
        carried = Counter((name, value) for row in self.values.values() for name in self.names for value in row[name])
        self.common = {pair for pair, count in carried.items() if count > 1}

    def profile(self, items: Sequence[str]) -> str:
        """'Genres: Comedy, Drama' line by line; '' where items share nothing that could be said."""
        found = []
        for name in self.names:
            values = [value for item in items for value in self.values.get(item, {}).get(name, ())]
            if name == self.release:
                years = sorted(value[:4] for value in values if moment(value) is not None)
                kept = [f"{years[0]} to {years[-1]}"] if years else []
            else:
                counts = Counter(value for value in values if (name, value) in self.common)
                kept = [value for value, _ in counts.most_common(VALUES)]
            if kept:
                found.append(f"{name.replace('_', ' ').capitalize()}: {', '.join(kept)}")
        return "\n".join(found)


def values(text: str) -> tuple[str, ...]:
    return tuple(value for part in re.split(r"[|;]", text) if (value := shown(part, 6)))


def profile_lines(profile: str) -> str:
    """A profile text as data: its lines without chat tokens."""
    return "\n".join(line for part in profile.splitlines() if (line := shown(part, 60)))
