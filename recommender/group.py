"""One list for several people: their scores put together (Masthoff 2015 surveys the ways).

z(m, i) is member m's score of item i, with mean 0 and deviation 1 over the items: students give users scores on scales
of their own. A member who scores all items alike has 0 for each.

mean           mean_m z(m, i)
least-misery   min_m z(m, i)
most-pleasure  max_m z(m, i)
attention      sum_m a(m, i) z(m, i), a(m, i) = exp(s(m, i) / t) / sum_n exp(s(n, i) / t)

s is the cosine of the member's profile and the item (who knows such items has the say), or of the profile and the
group's, the same for all items (who is typical of the group has the say). Among equals attention is the mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from llm_aug.errors import InputError, did_you_mean
from llm_aug.vectors import unit
from recommender.features import z_scores

Rows = NDArray[np.float32]

PLAIN: dict[str, Callable[[Rows], Rows]] = {
    "mean": lambda z: np.asarray(z.mean(axis=0)),
    "least-misery": lambda z: np.asarray(z.min(axis=0)),
    "most-pleasure": lambda z: np.asarray(z.max(axis=0)),
}
ATTENTION = "attention"


def aggregate(scores: Rows, how: str, similarity: Rows | None = None, temperature: float = 0.1) -> Rows:
    """[items] of scores [members, items]. similarity, temperature: of attention; [members, items] or [members].

    Raises InputError for an unknown way, a group of nobody, and attention without similarities of its members.
    """
    if not len(scores):
        raise InputError("a group needs at least one member")
    if how in PLAIN:
        return PLAIN[how](z_scores(scores))
    if how != ATTENTION:
        raise InputError(f"no aggregation {how!r}; {did_you_mean(how, (*PLAIN, ATTENTION))}")
    if similarity is None or len(similarity) != len(scores):
        raise InputError("attention needs each member's similarity to the items or to the group, a row per member")
    weights = softmax(np.asarray(similarity, dtype=np.float64) / temperature, axis=0).reshape(len(scores), -1)
    return np.asarray((weights * z_scores(scores)).sum(axis=0), dtype=np.float32)


def item_similarity(profiles: Rows, items: Rows) -> Rows:
    """Cosine of each member's profile and each item: [members, items]; 0 for a member without history."""
    return np.asarray(unit(profiles) @ unit(items).T, dtype=np.float32)


def group_similarity(profiles: Rows) -> Rows:
    """Cosine of each member's profile and the mean of all members' directions: [members]."""
    directions = unit(profiles)
    return np.asarray((directions @ unit(directions.mean(axis=0, keepdims=True)).T).ravel(), dtype=np.float32)
