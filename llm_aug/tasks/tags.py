"""The closed set of tags of a catalogue: attribute values in words that several items share ("Comedy", "Tom Hanks")."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llm_aug.data import ITEM_COLUMNS, Dataset
from llm_aug.errors import InputError
from llm_aug.tasks.closed_sets import closed_set
from llm_aug.text import normalised

MOST_SHARE = 0.8  # of the items: what nearly all of them have tells no user from another
MOST_WORDS = 5  # a sentence is no tag
_WORDS = re.compile(r"[^\W\d_]{2}")  # two letters in a row: 1995 and 81.0 are facts, not interests


@dataclass(frozen=True)
class Tags:
    """names: as it reads (normalised) -> as the catalogue spells it. items: how many have a tag. of: an item's tags."""

    names: Mapping[str, str]
    items: Mapping[str, int]
    of: Mapping[str, tuple[str, ...]]

    def count(self, items: Sequence[str]) -> Counter[str]:
        return Counter(tag for item in items for tag in self.of.get(item, ()))

    def typical(self, items: Sequence[str]) -> list[str]:
        """Tags of at least two of the items (of a single item: its own) and of a larger share of them than of all."""
        counts = self.count(items)
        fewest, share = min(2, len(items)), len(self.of) / max(1, len(items))
        found = [tag for tag, count in counts.items() if count >= fewest and count * share > self.items[tag]]
        return sorted(found, key=lambda tag: (-counts[tag], self.items[tag], tag))

    def choices(self, items: Sequence[str], most: int) -> list[str]:
        """Half from the items, the rest the catalogue's most frequent, by name: their order gives nothing away."""
        counts = self.count(items)
        own = sorted(counts, key=lambda tag: (-counts[tag], self.items[tag], tag))[: most // 2]
        common = sorted(self.items, key=lambda tag: (-self.items[tag], tag))
        return sorted(list(dict.fromkeys([*own, *common]))[:most])


def narrowed(dataset: Dataset, attributes: Sequence[str] | None) -> Dataset:
    """With these attribute columns alone; None leaves all. Raises InputError for one that the items do not have."""
    if attributes is None:
        return dataset
    unknown = set(attributes) - set(dataset.attributes)
    if unknown:
        raise InputError(f"items have no attribute {min(unknown)!r}; known: {', '.join(dataset.attributes)}")
    return Dataset(dataset.items[[*ITEM_COLUMNS, *attributes]], dataset.interactions)


def tags_of(dataset: Dataset) -> Tags:
    """Of all attribute columns."""
    rows = dataset.items.to_dict("records")
    sets = [closed_set(name, [row[name] for row in rows]) for name in dataset.attributes]
    read = {
        row["item_id"]: {normalised(value): value for one in sets for value in one.values(row[one.attribute])}
        for row in rows
    }
    counts = Counter(key for values in read.values() for key in values)
    names = {key: value for values in read.values() for key, value in values.items() if _is_tag(value)}
    names = {key: name for key, name in names.items() if counts[key] <= MOST_SHARE * len(read)}
    of = {item: tuple(names[key] for key in values if key in names) for item, values in read.items()}
    return Tags(names, {name: counts[key] for key, name in names.items()}, of)


def _is_tag(value: str) -> bool:
    return len(value.split()) <= MOST_WORDS and not set(value) & set(",;|") and _WORDS.search(value) is not None
