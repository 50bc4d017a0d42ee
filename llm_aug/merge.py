"""Real data and kept samples made one: the only place that reads a sample's kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from llm_aug.data import Dataset, Sample, tidy_interactions
from llm_aug.text import is_blank


def merge(dataset: Dataset, samples: Iterable[Sample], weight: float = 1.0) -> Dataset:
    """Pairs become synthetic interactions, their weight times `weight`; descriptions join the item's text, and
    an attribute fills a cell that says nothing.

    Real rows stay as they are. A description of an unknown item, or a pair of one, is left out: the filter's to report.
    """
    samples = list(samples)
    known = set(dataset.items["item_id"])
    pairs = [
        {**vars(pair), "weight": sample.weight * weight, "is_synthetic": True}
        for sample in samples
        if sample.kind in ("interactions", "history")
        for pair in sample.interactions or ()
        if pair.item_id in known
    ]
    filled = _with_attributes(dataset, [sample for sample in samples if sample.kind == "attributes"])
    merged = _with_descriptions(filled, [sample for sample in samples if sample.kind == "description"])
    if not pairs:
        return merged
    rows = tidy_interactions(pd.DataFrame(pairs))
    return replace(merged, interactions=pd.concat([dataset.interactions, rows], ignore_index=True))


def _with_attributes(dataset: Dataset, samples: list[Sample]) -> Dataset:
    """A sample says 'genres: Comedy|Drama'; of several about one cell the first is taken."""
    items = dataset.items.copy()
    row = {item: place for place, item in enumerate(items["item_id"])}
    for sample in samples:
        name, _, value = (sample.text or "").partition(": ")
        place = row.get(sample.subject)
        if place is not None and name in dataset.attributes and value and is_blank(str(items[name].iat[place])):
            items.iat[place, items.columns.get_loc(name)] = value
    return replace(dataset, items=items) if samples else dataset


def _with_descriptions(dataset: Dataset, samples: list[Sample]) -> Dataset:
    if not samples:
        return dataset
    written: dict[str, list[str]] = {}
    for sample in samples:
        written.setdefault(sample.subject, []).append(sample.text or "")
    descriptions = [
        " ".join(part for part in (old, *written.get(item_id, ())) if part)
        for item_id, old in zip(dataset.items["item_id"], dataset.items["description"], strict=True)
    ]
    return replace(dataset, items=dataset.items.assign(description=descriptions))
