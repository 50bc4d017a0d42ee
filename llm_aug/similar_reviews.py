"""Reviews that say much the same of different items -> interactions: whoever praised one may like the other.

OUTPUT/samples.parquet   one sample per pair: {"sample_id": "review/similar/7/1", "kind": "interactions", "subject":
                         "1", "interactions": [{"user_id": "7", "item_id": "1"}], "weight": 0.83}
OUTPUT/rejects.parquet   reviews that made no pair     OUTPUT/manifest.json   the recipe, the encoder and the counts
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from llm_aug.answers import locked, open_answers, say, write_manifest
from llm_aug.data import Dataset, Origin, Pair, Reject, Sample
from llm_aug.errors import InputError, ShortOfTarget
from llm_aug.files import fingerprint
from llm_aug.generate import dataset_hash
from llm_aug.results import write_results
from llm_aug.tidy import REVIEW
from llm_aug.vectors import Encoder, Vectors, finite, nearest

GENERATOR, STAGE = "review/similar", "similar"
HELD = 1 << 22  # neighbours in memory at once: 50 MB
_Rated = tuple[str, str, float | None]  # user, item, rating


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


@dataclass(frozen=True)
class SimilarResult:
    """asked: reviews = used + rejected, none fails. pairs: samples that they made."""

    asked: int
    used: int
    rejected: int
    pairs: int
    reasons: dict[str, int]
    failed: int = 0

    def __str__(self) -> str:
        why = f" ({', '.join(f'{reason}: {count}' for reason, count in self.reasons.items())})" if self.reasons else ""
        return f"{self.asked} reviews = {self.used} used + {self.rejected} rejected{why}; {self.pairs} pairs"


def similar_reviews(
    dataset: Dataset,
    reviews: Sequence[Sample],
    encoder: Encoder,
    output: Path,
    options: SimilarOptions = SimilarOptions(),
    split_hash: str = "",
) -> SimilarResult:
    """The log's own reviews and `reviews` -> pairs that the log does not hold. Nothing is drawn, so there is no seed.

    Raises InputError where there is no review, or one that was made from another split; ResumeRefused where the folder
    holds another recipe or another run is at work; ShortOfTarget where no pair is made, after the rejects are written.
    """
    written = [*reviews_of(dataset), *reviews]
    _check(written, split_hash)
    config = {
        "generator": GENERATOR,
        "input": dataset_hash(dataset),
        "reviews": fingerprint(sorted(fingerprint([one.sample_id, one.text, _pair(one)]) for one in reviews)),
        "encoder": encoder.name,
        "options": asdict(options),
        "split_hash": split_hash,
    }
    log = dataset.interactions
    with locked(output):
        open_answers(output, config)  # has no answers to read, but refuses another recipe
        write_manifest(output, config, state="running")
        known = set(zip(log["user_id"], log["item_id"], strict=True))
        samples, rejects = pairs_of_similar_reviews(written, encoder, known, options)
        samples = [replace(sample, origin=replace(sample.origin, split_hash=split_hash)) for sample in samples]
        write_results(output, samples, rejects)
        reasons = dict(Counter(reject.reason for reject in rejects).most_common())
        used = len(written) - len(rejects)
        result = SimilarResult(len(written), used, len(rejects), len(samples), reasons)
        write_manifest(output, config, state="done", counts=asdict(result))
    say(f"{GENERATOR}: {result}")
    if not samples:
        raise ShortOfTarget(f"{GENERATOR}: no pair was made of {result}; lower the floor ({options.floor:g})")
    return result


def _check(written: Sequence[Sample], split_hash: str) -> None:
    if not any(_pair(sample) for sample in written):
        raise InputError(
            f"there is no review to compare: the log has no column {REVIEW!r} with text, and no reviews are given; "
            f"prepare with --column {REVIEW}=THEIRS, or make some with `llm-aug generate --task review`"
        )
    foreign = [one.sample_id for one in written if split_hash and one.origin.split_hash not in ("", split_hash)]
    if foreign:
        raise InputError(
            f"{len(foreign)} reviews were made from another split and may know this one's test rows, "
            f"e.g. {foreign[0]}; generate them from this split"
        )


def reviews_of(dataset: Dataset) -> Iterator[Sample]:
    """What users wrote, where the log holds it; a row without words is no review."""
    log = dataset.interactions
    if REVIEW not in log:
        return
    for user, item, rating, text in zip(log["user_id"], log["item_id"], log["rating"], log[REVIEW], strict=True):
        if text:
            pair = Pair(user, item, rating=None if np.isnan(rating) else float(rating))
            yield Sample(_key("train", user, item), "review", item, text, (pair,), origin=Origin("train"))


class _Written(NamedTuple):
    """row: among the reviews that were given."""

    user: str
    item: str
    sample_id: str
    row: int


def pairs_of_similar_reviews(
    reviews: Sequence[Sample],
    encoder: Encoder,
    known: Collection[tuple[str, str]] = (),
    options: SimilarOptions = SimilarOptions(),
) -> tuple[list[Sample], list[Reject]]:
    """One sample for each (user, item), by user and item; its weight is the cosine, in [floor, 1], the best of several.

    User u wrote of item a what v wrote of item b: u may like b, and v may like a. Both reviews must be favourable;
    those without a rating count as such. known: pairs that are left out, as those reviewed are. The order of the
    reviews changes nothing. Rejects, of reviews: no_pair, unfavourable, no_vector (a text without direction), alone (no
    other is similar), nothing_new (all pairs it leads to are known).
    """
    pairs = [_pair(sample) for sample in reviews]
    why = _unfit(pairs, options.liked)
    fit = sorted(
        _Written(pair[0], pair[1], reviews[row].sample_id, row)
        for row, pair in enumerate(pairs)
        if pair is not None and not why[row]
    )
    vectors = encoder.encode([reviews[one.row].text or "" for one in fit])
    usable = finite(vectors)
    for one, fits in zip(fit, usable, strict=True):
        why[one.row] = "alone" if fits else "no_vector"
    fit = [one for one, fits in zip(fit, usable, strict=True) if fits]
    left_out = {*known, *((pair.user_id, pair.item_id) for sample in reviews for pair in sample.interactions or ())}
    best: dict[tuple[str, str], tuple[float, str, str]] = {}
    for one, other, score in _alike(fit, vectors[usable], options):
        parents = sorted((one.sample_id, other.sample_id))
        new = [pair for pair in ((one.user, other.item), (other.user, one.item)) if pair not in left_out]
        for pair in new:
            found = (min(score, 1.0), parents[0], parents[1])
            best[pair] = max(best.get(pair, found), found)
        for row in (one.row, other.row):
            why[row] = "" if new or not why[row] else "nothing_new"
    samples = [_sample(user, item, *best[user, item]) for user, item in sorted(best)]
    rejects = [
        Reject(sample.subject, STAGE, reason, sample.sample_id)
        for sample, reason in zip(reviews, why, strict=True)
        if reason
    ]
    return samples, rejects


def _alike(
    written: Sequence[_Written], vectors: Vectors, options: SimilarOptions
) -> Iterator[tuple[_Written, _Written, float]]:
    """Each review with its nearest ones by other users of other items, and their cosine, floor or more."""
    # As many more neighbours as reviews can be of the same user or item: so none that counts is missed.
    own = sum(
        max(Counter(names).values(), default=0)
        for names in ([one.user for one in written], [one.item for one in written])
    )
    wanted = min(len(written), options.neighbours + own)
    rows = max(1, HELD // max(1, wanted))
    for start in range(0, len(written), rows):
        found = nearest(vectors[start : start + rows], vectors, wanted)
        for one, scores, near in zip(written[start : start + rows], *found, strict=True):
            others = [
                (written[place], score)
                for score, place in zip(scores.tolist(), near.tolist(), strict=True)
                if score >= options.floor and written[place].user != one.user and written[place].item != one.item
            ]
            yield from ((one, other, score) for other, score in others[: options.neighbours])


def _unfit(pairs: Sequence[_Rated | None], liked: float | None) -> list[str]:
    """Of each review why it takes no part, or ''."""
    ratings = [pair[2] for pair in pairs if pair is not None and pair[2] is not None]
    least = liked if liked is not None else float(np.mean(ratings)) if ratings else 0.0
    return [
        "no_pair" if pair is None else "" if pair[2] is None or pair[2] >= least else "unfavourable" for pair in pairs
    ]


def _pair(sample: Sample) -> _Rated | None:
    """Of a review of a user's; of anything else None."""
    if sample.kind != "review" or not sample.interactions:
        return None
    pair = sample.interactions[0]
    return pair.user_id, pair.item_id, pair.rating


def _sample(user: str, item: str, weight: float, *parents: str) -> Sample:
    origin = Origin(GENERATOR, parents)
    return Sample(_key(GENERATOR, user, item), "interactions", item, None, (Pair(user, item),), weight, origin)


def _key(prefix: str, user: str, item: str) -> str:
    return f"{prefix}/{quote(user, safe='')}/{quote(item, safe='')}"
