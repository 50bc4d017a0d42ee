"""What users take, synthetic beside real, as rows that a classifier may tell apart: see `corpus.tell_apart`.

Items are read by their words (LSA of title, attributes and description) whatever encoder the filter has: samples
without text must not cost the encoding of all items that they name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

import numpy as np

from llm_aug.chosen import chosen, told
from llm_aug.data import Sample, item_text
from llm_aug.errors import InputError
from llm_aug.filters.reference import Reference
from llm_aug.vectors import Vectors, fit_tfidf, unit

DIMENSIONS = 64
LATEST = 20  # items of a user that tell what the user takes
Pair = tuple[str, str]  # user, item


class Side(NamedTuple):
    """rows [n, DIMENSIONS], each with its subject."""

    subjects: list[str]
    rows: Vectors


def of_histories(made: Sequence[Sample], users: Sequence[str], reference: Reference) -> tuple[Side, Side]:
    """The direction of the mean item of each sample, and of each of the log's `users`; subjects are users.

    Rows of users whose items have no words are left out.
    """
    taken = _taken(users, reference)
    sides = (
        [(sample.subject, [pair.item_id for pair in sample.interactions or ()][-LATEST:]) for sample in made],
        [(user, taken[user]) for user in users],
    )
    items = _Items(chain(*(named for side in sides for _, named in side)), reference)
    synthetic, real = (_side((user, items.mean(one)) for user, one in side) for side in sides)
    return synthetic, real


def of_pairs(made: Sequence[Pair], real: Sequence[Pair], reference: Reference) -> tuple[Side, Side]:
    """The item times, number by number, the mean of the user's other items in the log; subjects are items.

    Pairs of users without another item, and those of items without words, are left out.
    """
    taken = _taken([user for user, _ in (*made, *real)], reference)
    items = _Items([*(item for _, item in (*made, *real)), *chain(*taken.values())], reference)

    def fit(user: str, item: str) -> Vectors | None:
        own, others = items.mean([item]), items.mean([one for one in taken.get(user, ()) if one != item])
        return None if own is None or others is None else DIMENSIONS * own * others

    synthetic, known = (_side((item, fit(user, item)) for user, item in side) for side in (made, real))
    return synthetic, known


def _side(rows: Iterable[tuple[str, Vectors | None]]) -> Side:
    found = [(subject, row) for subject, row in rows if row is not None]
    return Side([subject for subject, _ in found], np.array([row for _, row in found]).reshape(-1, DIMENSIONS))


def _taken(users: Iterable[str], reference: Reference) -> Mapping[str, list[str]]:
    """The LATEST items of each of the users that the log has."""
    log = reference.training.interactions
    own = log[log["user_id"].isin(set(users))].sort_values("timestamp", kind="stable", na_position="first")
    latest = own.groupby("user_id", sort=False).tail(LATEST)
    taken = defaultdict[str, list[str]](list)
    for user, item in zip(latest["user_id"], latest["item_id"], strict=True):
        taken[user].append(item)
    return taken


class _Items:
    """What the items are about: rows of DIMENSIONS, zero for those without words."""

    def __init__(self, items: Iterable[str], reference: Reference) -> None:
        known = sorted(reference.row.keys() & set(items))
        attributes = reference.training.attributes
        every = told(reference.training, len(reference.ids), lambda item: item_text(item, attributes))
        texts = list(chosen(every, [reference.row[item] for item in known]))
        self._row = {item: row for row, item in enumerate(known)}
        self._vectors = np.zeros((len(known), DIMENSIONS), np.float32)
        with suppress(InputError):  # no text has a word
            vectors = fit_tfidf(texts, DIMENSIONS).encode(texts)
            self._vectors[:, : vectors.shape[1]] = vectors

    def mean(self, items: Sequence[str]) -> Vectors | None:
        """[DIMENSIONS], of length 1; None where no item is known that has words."""
        rows = [self._row[item] for item in items if item in self._row]
        direction: Vectors = unit(self._vectors[rows].sum(axis=0, keepdims=True))[0]
        return direction if direction.any() else None
