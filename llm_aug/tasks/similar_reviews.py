"""Reviews that say much the same of different items -> interactions: whoever praised one may like the other.

One sample: {"sample_id": "review/similar/7/1", "kind": "interactions", "subject": "1",
             "interactions": [{"user_id": "7", "item_id": "1"}], "weight": 0.83}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np

from llm_aug.data import Origin, Pair, Sample
from llm_aug.errors import InputError
from llm_aug.vectors import Encoder, finite, nearest

GENERATOR = "review/similar"


@dataclass(frozen=True)
class SimilarOptions:
    """floor: least cosine of two reviews. neighbours: of each review. liked: least rating; None is the mean of them.

    The floor is set, not measured: look at what `merge` is handed before you trust it with another encoder.
    """

    floor: float = 0.6
    neighbours: int = 3
    liked: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.floor <= 1 or self.neighbours < 1:
            raise InputError("similar reviews: floor is above 0 and at most 1, neighbours at least 1")


def pairs_of_similar_reviews(
    reviews: Sequence[Sample],
    encoder: Encoder,
    known: Collection[tuple[str, str]] = (),
    options: SimilarOptions = SimilarOptions(),
) -> list[Sample]:
    """One sample for each (user, item), by user and item; its weight is the cosine, in [floor, 1], the best of several.

    User u wrote of item a what v wrote of item b: u may like b, and v may like a. Both reviews must be favourable;
    those without a rating count as such. known: pairs that are left out, as those reviewed are. A review without its
    pair, or whose text has no direction, takes no part.
    """
    written = _favourable(reviews, options.liked)
    vectors = encoder.encode([sample.text or "" for sample, _ in written])
    usable = finite(vectors)
    written = [entry for entry, fits in zip(written, usable, strict=True) if fits]
    vectors = vectors[usable]
    left_out = {*known, *((pair.user_id, pair.item_id) for sample in reviews for pair in sample.interactions or ())}
    # As many more neighbours as reviews can be of the same user or item: so none that counts is missed.
    own = sum(max(Counter(names).values(), default=0) for names in _ids(written))
    best: dict[tuple[str, str], tuple[float, str, str]] = {}
    for row, (scores, near) in enumerate(zip(*nearest(vectors, vectors, options.neighbours + own), strict=True)):
        sample, pair = written[row]
        others = [(float(s), *written[n]) for s, n in zip(scores, near, strict=True) if _apart(pair, written[n][1])]
        for score, other, its in others[: options.neighbours]:
            if score < options.floor:
                break
            for user, item in ((pair.user_id, its.item_id), (its.user_id, pair.item_id)):
                if (user, item) not in left_out:
                    found = (min(score, 1.0), *sorted((sample.sample_id, other.sample_id)))
                    best[user, item] = max(best.get((user, item), found), found)
    return [_sample(user, item, *best[user, item]) for user, item in sorted(best)]


def _favourable(reviews: Sequence[Sample], liked: float | None) -> list[tuple[Sample, Pair]]:
    written = [
        (sample, sample.interactions[0]) for sample in reviews if sample.kind == "review" and sample.interactions
    ]
    ratings = [pair.rating for _, pair in written if pair.rating is not None]
    least = liked if liked is not None else float(np.mean(ratings)) if ratings else 0.0
    return [(sample, pair) for sample, pair in written if pair.rating is None or pair.rating >= least]


def _ids(written: Sequence[tuple[Sample, Pair]]) -> tuple[list[str], list[str]]:
    return [pair.user_id for _, pair in written], [pair.item_id for _, pair in written]


def _apart(one: Pair, other: Pair) -> bool:
    return one.user_id != other.user_id and one.item_id != other.item_id


def _sample(user: str, item: str, weight: float, *parents: str) -> Sample:
    key = f"{GENERATOR}/{quote(user, safe='')}/{quote(item, safe='')}"
    return Sample(key, "interactions", item, None, (Pair(user, item),), weight, Origin(GENERATOR, parents))
