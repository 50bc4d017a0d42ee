"""Ratings in words and numbers: the scale a log uses, the rating an answer states, and words that contradict it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_aug.text import words

MOST_STEPS = 100  # a finer scale is a mean or a percentage: any value between its ends is taken
CLEAR = 0.25  # of the scale, from either end: a middling rating goes with praise and with blame
GOOD = frozenset(
    {
        "amazing", "awesome", "beautiful", "best", "brilliant", "charming", "delightful", "enjoyable",
        "enjoyed", "excellent", "fantastic", "glad", "good", "great", "happy", "impressive", "love", "loved",
        "loves", "marvelous", "nice", "perfect", "perfectly", "pleased", "recommend", "recommended", "superb",
        "terrific", "wonderful",
    }
)  # fmt: skip
BAD = frozenset(
    {
        "annoying", "awful", "bad", "boring", "crappy", "defective", "disappointed", "disappointing",
        "disappointment", "dreadful", "dull", "flimsy", "garbage", "hate", "hated", "hates", "horrible",
        "lousy", "mediocre", "pathetic", "poor", "poorly", "ridiculous", "terrible", "tedious", "unusable",
        "useless", "waste", "worst",
    }
)  # fmt: skip
_NOT = re.compile(r"not|never|no|hardly|cannot|without|\w+n['’]t")
REACH = 2  # words that a negation reaches: "not a good film"
_NUMBER = r"(?P<value>-?\d{1,6}(?:[.,]\d{1,3})?)(?![\d.,]*\d)(?:[ \t]*(?:/|out of)[ \t]*(?P<of>\d{1,6}))?"
_STARS = r"[ \t]*(?:stars?\b|★+)?[ \t]*[*.,;)]*"
_LABELLED = re.compile(
    rf"^[\s*#>\"-]*(?:\w+ )?rating\b[\s*]*[:=-]?[\s*\"(]*{_NUMBER}{_STARS}", re.IGNORECASE | re.MULTILINE
)
_BARE = re.compile(rf"\A[\s*\"]*{_NUMBER}{_STARS}[ \t]*(?:$|(?=review\b))", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Scale:
    """step: the smallest difference between two ratings of the log; 0 where any value between the ends is taken."""

    low: float
    high: float
    step: float

    def __str__(self) -> str:
        steps = f" in steps of {self.step:g}" if self.step not in (0, 1) else ""
        return f"{self.low:g} to {self.high:g}{steps}"

    def holds(self, rating: Rating) -> bool:
        """'4/5' is on a scale up to 5 and on no other."""
        if not self.low <= rating.value <= self.high or rating.of not in (None, self.high):
            return False
        steps = (rating.value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-6

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Rating:
    value: float
    of: float | None = None


def measure(ratings: Any) -> Scale | None:
    """Of a column that may hold NaN; None where fewer than two values occur: such ratings say nothing."""
    values = np.unique(np.asarray(ratings, dtype=float))
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return None
    step = float(np.round(np.diff(values).min(), 6))
    fine = step <= 0 or (values[-1] - values[0]) / step > MOST_STEPS
    return Scale(float(values[0]), float(values[-1]), 0.0 if fine else step)


def read_rating(text: str) -> tuple[Rating | None, str]:
    """The first rating an answer states, 'Rating: 4/5' or a number alone in front, and the text after it.

    Of an answer that begins with the review, the text before it.
    """
    found = _LABELLED.search(text) or _BARE.match(text)
    if found is None:
        return None, text
    of = found["of"]
    rest = text[found.end() :]
    rating = Rating(float(found["value"].replace(",", ".")), None if of is None else float(of))
    return rating, rest if words(rest) else text[: found.start()]


def contradicts(review: str, place: float) -> bool:
    """A rating in the top quarter with bad words and no good one, or in the bottom quarter with good and no bad ones.

    place: of the rating, 0 to 1. The words are those of GOOD and BAD; one after a negation counts for the other side.
    """
    said = [word.casefold() for word in words(review)]
    good = bad = 0
    for index, word in enumerate(said):
        if word in GOOD or word in BAD:
            negated = any(_NOT.fullmatch(before) for before in said[max(0, index - REACH) : index])
            good += (word in GOOD) != negated
            bad += (word in BAD) != negated
    if place >= 1 - CLEAR:
        return bad > 0 and good == 0
    return place <= CLEAR and good > 0 and bad == 0
