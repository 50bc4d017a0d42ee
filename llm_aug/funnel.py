"""The funnel: which users might like an item that nobody has touched yet, found by FAISS in both directions.

Every way of comparing a user with an item is a `Space`: vectors whose inner product is the preference. Spaces are put
on one scale (z-scores over each user's items), joined by concatenation, and turned into log-probabilities per user, all
of it inside the vectors, so that one exact inner-product search answers both "which items for this user" and "which
users for this item".

One candidate: {"user_id": "7", "item_id": "1", "preference": -4.1}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logsumexp

from llm_aug.vectors import nearest

Matrix = NDArray[np.float32]
USERS_AT_ONCE = 1024


@dataclass(frozen=True)
class Space:
    """users: [users, d], items: [items, d], in the order of the user list and of the catalogue."""

    name: str
    users: Matrix
    items: Matrix


@dataclass(frozen=True)
class Funnel:
    """preference(u, i) = log softmax over the known items of the mixed z-scores times sharpness: users @ items.T."""

    user_ids: Sequence[str]
    item_ids: Sequence[str]
    users: Matrix
    items: Matrix

    def candidates(self, targets: NDArray[np.int64], per_user: int, per_item: int) -> pd.DataFrame:
        """The best `per_user` targets of each user and the best `per_item` users of each target, each pair once.

        targets: catalogue positions of the items to find users for. Rows in order of user, then of preference.
        """
        some = self.items[targets]
        users = np.flatnonzero((self.users != 0).any(axis=1))
        liked, items = nearest(self.users[users], some, per_user)
        reached, back = nearest(some, self.users[users], per_item)
        frame = pd.DataFrame(
            {
                "user": np.concatenate([np.repeat(users, liked.shape[1]), users[back].ravel()]),
                "item": np.concatenate([targets[items].ravel(), np.repeat(targets, reached.shape[1])]),
                "preference": np.concatenate([liked.ravel(), reached.ravel()]),
            }
        ).drop_duplicates(["user", "item"])
        frame = frame.sort_values(["user", "preference", "item"], ascending=[True, False, True], ignore_index=True)
        frame.insert(0, "user_id", np.asarray(self.user_ids, dtype=object)[frame["user"]])
        frame.insert(1, "item_id", np.asarray(self.item_ids, dtype=object)[frame["item"]])
        return frame.drop(columns=["user", "item"])


def standardised(space: Space) -> Space:
    """The same space with each user's scores over all items at mean 0, deviation 1.

    <u, v> becomes (<u, v> - m_u) / s_u = <u / s_u, v - mean of v>. A user whose scores do not differ gets the
    zero vector.
    """
    centred = space.items - space.items.mean(axis=0)
    covariance = centred.T @ centred / np.float32(len(centred))
    spread = np.sqrt(np.maximum(((space.users @ covariance) * space.users).sum(axis=1), 0))
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-6)[:, None].astype(np.float32)
    return Space(space.name, space.users * scale, centred)


def mixed(spaces: Sequence[Space], weights: Sequence[float]) -> Space:
    """score = sum of weight * z-score, as one space."""
    scaled = [standardised(space) for space in spaces]
    users = np.hstack([space.users * np.float32(weight) for space, weight in zip(scaled, weights, strict=True)])
    return Space("mixed", users, np.hstack([space.items for space in scaled]))


def build(
    user_ids: Sequence[str], item_ids: Sequence[str], space: Space, known: NDArray[np.bool_], sharpness: float = 2.0
) -> Funnel:
    """known: the items with history, over which each user's scores become log-probabilities. Zero users stay zero."""
    users = space.users * np.float32(sharpness)
    normalisers = np.concatenate(
        [
            logsumexp(users[start : start + USERS_AT_ONCE] @ space.items[known].T, axis=1)
            for start in range(0, len(users), USERS_AT_ONCE)
        ]
    ).astype(np.float32)
    active = (users != 0).any(axis=1)
    users = np.hstack([users, np.where(active, -normalisers, 0)[:, None]])
    return Funnel(user_ids, item_ids, users, np.hstack([space.items, np.ones((len(space.items), 1), np.float32)]))
