"""What lists do to a catalogue: one figure of all lists of a group (no mean over users), and who is found how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.metrics import Counts, Mask, Ranked
from eval.ranking import USERS_AT_ONCE, Group, Held, Lists
from llm_aug.data import Split

BINS = {"0": 0, "1-3": 1, "4-10": 4, "11-30": 11, "31+": 31}  # training pairs of an item, the least of each bin


def training_counts(split: Split) -> Counts:
    """Users of each item in the real training rows, the same for every arm: [items] in catalogue order."""
    pairs = split.train[["user_id", "item_id"]].drop_duplicates()
    return np.bincount(pd.Index(split.items["item_id"]).get_indexer(pairs["item_id"]), minlength=len(split.items))


def exposure(ranked: Ranked, k: int, items: int) -> Counts:
    """In how many of the lists each item is among the first k: [items]."""
    top = ranked[:, :k]
    return np.bincount(top[top >= 0], minlength=items)


def coverage(shown: Counts) -> float:
    """Share of the items that are in a list. shown: `exposure` of those that compete."""
    return float((shown > 0).mean())


def gini(shown: Counts) -> float:
    """Gini coefficient of exposure: sum of (2i - n - 1) x_i over n sum x, x ascending, i from 1 (Gini 1912).

    0 where all items are shown equally often, (n - 1) / n where it is always the same one; NaN without lists.
    """
    n, total = len(shown), int(shown.sum())
    return float((2 * np.arange(1, n + 1) - n - 1) @ np.sort(shown)) / (n * total) if total else float("nan")


def novelty(shown: Counts, trained: Counts) -> float:
    """Mean over all places of the lists of -log2 of the item's share of training pairs, in bits; NaN without lists.

    The share is (pairs + 1) / (all pairs + items), so that a cold item has one. shown, trained: the whole catalogue.
    (Self-information, Zhou et al. 2010.)
    """
    bits = -np.log2((trained + 1) / (trained.sum() + len(trained)))
    return float(shown @ bits / shown.sum()) if shown.any() else float("nan")


def diversity(ranked: Ranked, k: int, vectors: NDArray[np.float32]) -> float:
    """1 - mean cosine of the pairs within a list, averaged over the lists of two and more (Ziegler et al. 2005).

    vectors: [items, width], any length; a zero vector has cosine 0 with all. NaN where no list holds two.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    found = []
    for start in range(0, len(ranked), USERS_AT_ONCE):
        top = ranked[start : start + USERS_AT_ONCE, :k]
        listed = np.where((top >= 0)[:, :, None], unit[top], 0)
        size = (top >= 0).sum(axis=1)
        # |sum of v|^2 holds every ordered pair and each item with itself
        cosines = (listed.sum(axis=1, dtype=np.float64) ** 2).sum(axis=1) - (listed.astype(np.float64) ** 2).sum((1, 2))
        several = size > 1
        found.append(1 - cosines[several] / (size * (size - 1))[several])
    values = np.concatenate(found) if found else np.empty(0)
    return float(values.mean()) if len(values) else float("nan")


def catalogue_metrics(
    lists: Mapping[str, Lists],
    groups: Mapping[str, Group],
    trained: Counts,
    ks: Sequence[int],
    vectors: NDArray[np.float32] | None = None,
) -> list[dict[str, Any]]:
    """Rows {group, metric, k, value, users}; diversity where there are vectors; a figure that is NaN has no row."""
    rows = []
    for group, listed in lists.items():
        competing: Mask = groups[group].items
        for k in ks:
            shown = exposure(listed.items, k, len(competing))
            values = {
                "coverage": coverage(shown[competing]),
                "gini": gini(shown[competing]),
                "novelty": novelty(shown, trained),
                **({} if vectors is None else {"diversity": diversity(listed.items, k, vectors)}),
            }
            key = {"group": group, "k": k, "users": len(listed.users)}
            rows += [{**key, "metric": name, "value": value} for name, value in values.items() if not np.isnan(value)]
    return rows


def per_item(lists: Lists, held: Held, group: str, k: int) -> pd.DataFrame:
    """A row per item that competes in the group: item (its catalogue row), relevant, hits (pairs), shown (lists)."""
    competing, top = held.groups[group].items, lists.items[:, :k]
    wanted = held.relevant.matrix[lists.users]
    relevant = np.bincount(wanted.indices, minlength=len(competing))
    pairs = np.repeat(np.arange(len(top)), np.diff(wanted.indptr)) * len(competing) + wanted.indices
    found = np.isin(np.arange(len(top))[:, None] * len(competing) + top, pairs) & (top >= 0)
    hits = np.bincount(top[found], minlength=len(competing))
    shown = exposure(lists.items, k, len(competing))
    table = pd.DataFrame({"item": np.arange(len(competing)), "relevant": relevant, "hits": hits, "shown": shown})
    return table[competing].reset_index(drop=True)


def by_popularity(items: pd.DataFrame, trained: Counts) -> pd.DataFrame:
    """From `per_item`, by training pairs of the item: bin, items, relevant, hits, recall (hits / relevant).

    Recall is of pairs, no mean over users: the share of wanted items of the bin that their users were shown; NaN
    where none is wanted.
    """
    places = np.digitize(trained[items["item"]], list(BINS.values())) - 1
    sums = items.assign(items=1).groupby(places)[["items", "relevant", "hits"]].sum().reindex(range(len(BINS)))
    sums = sums.fillna(0).astype(np.int64)
    recall = np.divide(sums["hits"], sums["relevant"], out=np.full(len(BINS), np.nan), where=sums["relevant"] > 0)
    return sums.assign(recall=recall).set_axis(pd.Index(BINS, name="bin")).reset_index()
