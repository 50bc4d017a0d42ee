"""Real data and kept samples made one: the only place that reads a sample's kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean

import pandas as pd

from llm_aug.data import Dataset, Pair, Sample, tidy_interactions
from llm_aug.text import is_blank
from llm_aug.tidy import REVIEW


def merge(dataset: Dataset, samples: Iterable[Sample], weight: float = 1.0) -> Dataset:
    """Pairs become synthetic interactions, their weight times `weight`; descriptions join the item's text, and
    an attribute fills a cell that says nothing. Of reviews the favourable ones bring their pair, see `_praised`.

    Real rows stay as they are. A description of an unknown item, or a pair of one, is left out: the filter's to report.
    """
    samples = list(samples)
    known = set(dataset.items["item_id"])
    brought = [
        (pair, sample.weight)
        for sample in samples
        if sample.kind in ("interactions", "history")
        for pair in sample.interactions or ()
    ]
    praised = _praised(dataset, [sample for sample in samples if sample.kind == "review"], brought)
    pairs = [
        {**vars(pair), "weight": own * weight, "is_synthetic": True}
        for pair, own in (*brought, *praised)
        if pair.item_id in known
    ]
    filled = _with_attributes(dataset, [sample for sample in samples if sample.kind == "attributes"])
    merged = _with_descriptions(filled, [sample for sample in samples if sample.kind == "description"])
    if not pairs:
        return merged
    rows = tidy_interactions(pd.DataFrame(pairs))
    if REVIEW in dataset.interactions:
        rows[REVIEW] = ""
    return replace(merged, interactions=pd.concat([dataset.interactions, rows], ignore_index=True))


def _praised(
    dataset: Dataset, samples: Sequence[Sample], brought: Iterable[tuple[Pair, float]]
) -> Iterator[tuple[Pair, float]]:
    """A pair and a weight for each pair that is reviewed favourably and is neither in the log nor brought otherwise.

    Favourable is what has no rating, or one of at least the user's mean in the log, else of the log's mean; where the
    log has no ratings, everything is. Of several reviews of a pair their mean rating and their mean weight count.
    """
    reviews: defaultdict[tuple[str, str], list[tuple[Pair, float]]] = defaultdict(list)
    for sample in samples:
        for pair in sample.interactions or ():
            reviews[pair.user_id, pair.item_id].append((pair, sample.weight))
    if not reviews:
        return
    log = dataset.interactions
    taken = {*zip(log["user_id"], log["item_id"], strict=True), *((one.user_id, one.item_id) for one, _ in brought)}
    overall = log["rating"].mean()
    usual = log.groupby("user_id")["rating"].mean().dropna().to_dict()
    for key, told in reviews.items():
        ratings = [pair.rating for pair, _ in told if pair.rating is not None]
        rating = fmean(ratings) if ratings else None
        if key not in taken and (rating is None or not rating < usual.get(key[0], overall)):
            yield replace(told[0][0], rating=rating), fmean(weight for _, weight in told)


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
