"""Real-time use, nothing fitted again: users from their events, new items from their text, lists from a FAISS index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from llm_aug.data import Dataset, item_texts, tidy_items
from llm_aug.errors import InputError
from llm_aug.vectors import Index, finite
from recommender import Recommender
from recommender.matrix import Log

M = TypeVar("M")
WITH_TEXT = "content, two-tower, content-tower or fusion"


@runtime_checkable
class FoldsIn(Protocol):
    """A fitted student that answers for users who are not in its log."""

    def fold_in(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """As `scores`, [len(histories), items]. A history holds item ids, oldest first; it may be empty.

        Each event counts as a real pair of weight 1, and once. Raises InputError for an item that is not known.
        """


@runtime_checkable
class TakesItems(Protocol):
    """A fitted student that knows an item by its text."""

    def with_items(self, items: pd.DataFrame) -> Recommender:
        """A copy that scores these items, too, behind the ones it knows; the scores of those stay as they are.

        items: catalogue rows, with the columns of the catalogue in its order. Raises InputError for an id that is
        missing, doubled or known, and for an encoder that was fitted on the catalogue (tfidf).
        """


@runtime_checkable
class Embeds(Protocol):
    """A fitted student whose scores are inner products: what a `Shelf` holds and is asked."""

    item_vectors: NDArray[np.float32]

    def event_vectors(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """[len(histories), d], as `FoldsIn.fold_in` reads them; zero for an empty history."""


def fold_in(model: object, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """`FoldsIn.fold_in`. Raises InputError where the student has to be fitted again for a new user."""
    if not isinstance(model, FoldsIn):
        raise InputError(
            f"{type(model).__name__} knows the users of its training alone; for new ones train {WITH_TEXT}, "
            "ease or ials"
        )
    return model.fold_in(histories)


def with_items(model: M, items: pd.DataFrame) -> M:
    """`TakesItems.with_items`. Raises InputError where the student knows nothing of texts."""
    if not isinstance(model, TakesItems):
        raise InputError(
            f"{type(model).__name__} knows an item by its users alone; for items of which there is only text "
            f"train {WITH_TEXT}"
        )
    return cast(M, model.with_items(items))


def history_rows(histories: Sequence[Sequence[str]], items: pd.Index) -> csr_matrix:
    """[len(histories), len(items)] of ones, as `Log.rows`. Raises InputError for an item that is not known."""
    lengths = [len(history) for history in histories]
    events = [item for history in histories for item in history]
    columns = items.get_indexer(pd.Index(events))
    if (columns < 0).any():
        raise InputError(
            f"{events[int(np.argmin(columns))]!r} is not an item that the student knows; leave it out of the history, "
            "or give its text to with_items first"
        )
    row = np.repeat(np.arange(len(histories)), lengths)
    matrix = csr_matrix((np.ones(len(events), np.float32), (row, columns)), shape=(len(histories), len(items)))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def newcomers(items: pd.DataFrame, known: pd.Index) -> tuple[pd.Index, list[str]]:
    """Ids and texts of new catalogue rows. Raises InputError for an id that is missing, doubled or known."""
    items = tidy_items(items)
    ids = pd.Index(items["item_id"])
    odd = (known.get_indexer(ids) >= 0) | ids.duplicated() | (ids == "")
    if odd.any():
        raise InputError(
            f"new items: row {int(odd.argmax()) + 1} has the id {ids[odd.argmax()]!r}, which is empty or there before; "
            "a known item's text changes only by `llm-aug train`"
        )
    return ids, item_texts(Dataset(items, pd.DataFrame()))


def widened(log: Log, ids: pd.Index) -> Log:
    """The log with columns of items that nobody has touched."""
    items = log.items.append(ids)
    parts = log.matrix.data, log.matrix.indices, log.matrix.indptr
    return replace(log, items=items, matrix=csr_matrix(parts, shape=(len(log.users), len(items))))


class Shelf:
    """The items of a student that compares by inner product, in an exact FAISS index; a new item is a new shelf.

    vectors: [items, d], as `Embeds.item_vectors` or `ContentKNN.vectors` (the dense part of its scores).
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.size = len(vectors)
        self.index = Index(vectors, exact=True)

    def best(
        self, queries: NDArray[np.float32], seen: csr_matrix, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Row numbers of items and their inner products, [len(queries), k], best first: -1 and 0 where there are fewer.

        seen: [len(queries), items], what is left out. A query of zeros has no direction, so it gets no items.
        """
        items = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        told = np.flatnonzero(finite(queries))
        if not len(told):
            return items, scores
        left_out = csr_matrix(seen)[told].tocoo()
        deepest = int(np.bincount(left_out.row, minlength=1).max())
        found_scores, found = self.index.search(queries[told], k + deepest)
        keys = np.arange(len(told))[:, None] * self.size + found
        fresh = ~np.isin(keys, left_out.row.astype(np.int64) * self.size + left_out.col)
        order = np.argsort(~fresh, axis=1, kind="stable")[:, :k]
        kept = np.take_along_axis(fresh, order, axis=1)
        width = order.shape[1]
        items[told, :width] = np.where(kept, np.take_along_axis(found, order, axis=1), -1)
        scores[told, :width] = np.where(kept, np.take_along_axis(found_scores, order, axis=1), 0)
        return items, scores
