"""An interaction log as a sparse matrix: rows are users in sorted order, columns items in catalogue order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from llm_aug.data import Dataset
from llm_aug.errors import InputError


@dataclass(frozen=True)
class Log:
    """matrix: float32 [len(users), len(items)], the largest weight of each pair (a real row outweighs a synthetic)."""

    users: pd.Index
    items: pd.Index
    matrix: csr_matrix

    def rows(self, users: Sequence[str]) -> csr_matrix:
        """[len(users), len(items)]; a user without history is an empty row."""
        index = self.users.get_indexer(pd.Index(users))
        known = csr_matrix(
            (np.ones((index >= 0).sum(), np.float32), (np.flatnonzero(index >= 0), index[index >= 0])),
            shape=(len(index), len(self.users)),
        )
        return csr_matrix(known @ self.matrix)

    @property
    def warm(self) -> NDArray[np.bool_]:
        """Items with at least one interaction: [len(items)]."""
        return np.asarray(np.diff(self.matrix.tocsc().indptr) > 0)


def to_log(dataset: Dataset) -> Log:
    """Raises InputError where there is nothing to learn from."""
    if dataset.interactions.empty:
        raise InputError("there are no interactions to learn from; is the training part of the split empty?")
    items = pd.Index(dataset.items["item_id"])
    return Log(
        users := pd.Index(sorted(dataset.interactions["user_id"].unique())),
        items,
        pairs_matrix(dataset.interactions, users, items),
    )


def pairs_matrix(interactions: pd.DataFrame, users: pd.Index, items: pd.Index) -> csr_matrix:
    """[len(users), len(items)] of weights; rows of other users or items are left out, repeats keep the largest.

    A pair of weight zero is no pair: it must not make its item a warm one.
    """
    frame = pd.DataFrame(
        {
            "row": users.get_indexer(pd.Index(interactions["user_id"])),
            "column": items.get_indexer(pd.Index(interactions["item_id"])),
            "weight": np.asarray(interactions["weight"], dtype=np.float32),
        }
    )
    known = (frame["row"] >= 0) & (frame["column"] >= 0) & (frame["weight"] > 0)
    frame = frame[known].groupby(["row", "column"], as_index=False).max()
    return csr_matrix((frame["weight"], (frame["row"], frame["column"])), shape=(len(users), len(items)))
