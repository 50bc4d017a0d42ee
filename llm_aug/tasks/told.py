"""Sentences made by rule of an item's facts, and which of its own sentences the facts bear out.

[("Title", "Up"), ("Year", "2009"), ("Cast", "Ed Asner, Bob Peterson")] -> "Up came out in 2009. It stars Ed Asner and
Bob Peterson."
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from llm_aug.facts import Known, Vocabulary, invented_names, invented_numbers, known, plain
from llm_aug.text import sentences, words

Facts = Sequence[tuple[str, str]]

BORNE_OUT = 0.6  # of a sentence's words of LONG letters or more stand in the facts
LONG = 4
_ALONE = ("This is {it}.", "The name of this item is {it}.", "This item is called {it}.")
_WORDINGS = {
    "Year": ("{it} came out in {value}.", "{it} is from {value}.", "{it} dates from {value}."),
    "Director": ("{it} was directed by {value}.", "{value} directed {it}.", "{it} was made by {value}."),
    "Cast": ("{it} stars {value}.", "{it} features {value}.", "{it} has {value} in the cast."),
    "Genres": ("{it} belongs to the genres {value}.", "{it} is of the kind {value}.", "{it} is a mix of {value}."),
    "Brand": ("{it} is made by {value}.", "{it} comes from {value}.", "{it} is a product of {value}."),
    "Categories": ("{it} is listed under {value}.", "{it} belongs to {value}.", "{it} is found under {value}."),
}
_ONE = ("The {label} of {it} is {value}.", "{it} has the {label} {value}.")
_SOME = ("The {label} of {it} are {value}.", "{it} has the {label} {value}.")
_NO_NAMES = Vocabulary.of((), (), ())


def told(facts: Facts, rng: np.random.Generator) -> str:
    """Every fact once in a drawn wording and order; the first sentence names the item."""
    title = next((value for label, value in facts if label == "Title"), "this item")
    rest = [fact for fact in facts if fact[0] != "Title"]
    if not rest:
        return _filled(str(rng.choice(_ALONE)), it=title)
    made = []
    for turn, place in enumerate(rng.permutation(len(rest)).tolist()):
        label, value = rest[place]
        wordings = _WORDINGS.get(label, _SOME if ", " in value and label.endswith("s") else _ONE)
        wording = wordings[int(rng.integers(len(wordings)))]
        sentence = _filled(wording, it="it" if turn else title, label=label.lower(), value=_listed(value))
        made.append(sentence[0].upper() + sentence[1:])
    return " ".join(made)


def _filled(wording: str, **values: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], wording)


def _listed(value: str) -> str:
    """'A, B, C' -> 'A, B and C'."""
    *first, last = value.split(", ")
    return f"{', '.join(first)} and {last}" if first else last


def borne_out(text: str, facts: Facts) -> list[str]:
    """The sentences that say what the facts say: no other name or number, and hardly another word."""
    row = known("\n".join(value for _, value in facts))
    return [sentence for sentence in sentences(text) if _says(sentence, row)]


def _says(sentence: str, row: Known) -> bool:
    if invented_numbers(sentence, row) or invented_names(sentence, row, _NO_NAMES):
        return False
    long = [plain(word) for word in words(sentence) if len(word) >= LONG]
    return sum(word in row.words for word in long) >= max(1.0, BORNE_OUT * len(long))
