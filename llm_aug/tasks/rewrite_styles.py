"""What each style of rewriting needs, promises and learns from: one line a style in STYLES.

A lesson makes (text to show, answer) of an item's own text and the words of its title and attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from llm_aug.data import Kind
from llm_aug.text import names, normalised, quantities, sentences, words

FEWEST_WORDS = 4  # a shorter description ("Office chair.") holds nothing to rewrite
DROPOUT = 0.15
SWAPPED = 0.15  # of the words that may be swapped
TRIMMED = 0.9  # of a trimmed text's words stand in its source, in order
KEPT = 0.5  # of the words of a text that a swap leaves, and of the names that survive shortening
FILLER_WORDS = ("really", "simply", "truly", "of course", "without a doubt", "as you may know", "in fact")
FILLER_SENTENCES = ("You will love it!", "Great value!", "Look no further.", "Order yours today!", "Simply the best.")

Lesson = Callable[[str, Sequence[str], np.random.Generator], tuple[str, str]]


def noisy(text: str, rng: np.random.Generator) -> str:
    """Its sentences in another order, each word dropped with probability DROPOUT: what a denoiser has to undo."""
    parts = sentences(text)
    shuffled = " ".join(parts[index] for index in rng.permutation(len(parts))).split()
    kept = [word for word in shuffled if rng.random() >= DROPOUT]
    return " ".join(kept or shuffled)


def shorter(text: str, rng: np.random.Generator) -> str:
    """Some of its sentences in order; of a single sentence its first half."""
    parts = sentences(text)
    if len(parts) == 1:
        kept = text.split()
        return " ".join(kept[: max(FEWEST_WORDS, len(kept) // 2)])
    chosen = sorted(rng.choice(len(parts), size=int(rng.integers(1, len(parts))), replace=False))
    return " ".join(parts[index] for index in chosen)


def padded(text: str, rng: np.random.Generator) -> str:
    """With filler in every sentence, between sentences, and one sentence said twice: never shorter, order kept."""
    parts = []
    for sentence in sentences(text):
        said = sentence.split()
        at = int(rng.integers(1, len(said))) if len(said) > 1 else 0
        parts.append(" ".join([*said[:at], str(rng.choice(FILLER_WORDS)), *said[at:]]))
        if rng.random() < 0.5:
            parts.append(str(rng.choice(FILLER_SENTENCES)))
    again = int(rng.integers(len(parts)))
    return " ".join([*parts[: again + 1], *parts[again:]])


def gist(text: str) -> str:
    """Its first sentence and every later one that brings a new name or number."""
    first, *rest = sentences(text)
    kept, told = [first], {word.casefold() for word in words(first)}
    for sentence in rest:
        new = names(sentence) | {number for number, _ in quantities(sentence)}
        if new - told:
            kept.append(sentence)
            told |= {word.casefold() for word in words(sentence)}
    return " ".join(kept)


def swapped(text: str, terms: Sequence[str], rng: np.random.Generator) -> str:
    """A part of its plain words (lower case, four letters or more) replaced by one-word terms, or by 'item'.

    The terms stand in the facts that the prompt shows, so that a model can see which words are not at home.
    """
    said = text.split()
    plain = [place for place, word in enumerate(said) if len(word) >= 4 and word.isalpha() and word.islower()]
    fitting = [term.casefold() for term in terms if len(term) >= 4 and term.isalpha()] or ["item"]
    for place in rng.permutation(plain)[: max(1, round(SWAPPED * len(plain)))]:
        said[int(place)] = str(rng.choice(fitting))
    return " ".join(said)


def dealt(text: str, labels: Sequence[str], rng: np.random.Generator) -> dict[str, str]:
    """Its sentences dealt to sources in a shuffled order, some of them to all: none of the sources tells everything."""
    parts = sentences(text)
    if len(parts) < 2:
        return {label: noisy(text, rng) for label in labels}
    hands: dict[str, list[str]] = {label: [] for label in labels}
    for turn, place in enumerate(rng.permutation(len(parts))):
        own = labels[turn % len(labels)]
        for label in labels:
            if label == own or rng.random() < DROPOUT:
                hands[label].append(parts[int(place)])
    return {label: " ".join(hand) for label, hand in hands.items()}


def _condensed(text: str, terms: Sequence[str], rng: np.random.Generator) -> tuple[str, str]:
    """A text and its gist; a text without a sentence to spare is made longer first."""
    short = gist(text)
    return (text, short) if len(short) < len(text) else (padded(text, rng), text)


Check = Callable[[str, str, str], bool]


def _numbers(text: str) -> set[str]:
    return {number for number, _ in quantities(text)}


def _in_order(source: str, answer: str) -> int:
    """How many words of the answer stand in the source in the same order."""
    pair = (normalised(source).split(), normalised(answer).split())
    return sum(block.size for block in SequenceMatcher(None, *pair, autojunk=False).get_matching_blocks())


def _too_changed(source: str, answer: str, shown: str) -> bool:
    longest = max(len(words(source)), len(words(answer)))
    return longest > 2 * len(words(source)) or _in_order(source, answer) < KEPT * longest


def _lost_name(source: str, answer: str, shown: str) -> bool:
    """Half of the names may go: which of a text's capital letters are names is a guess."""
    known = names(source)
    kept = known & {word.casefold().removesuffix("'s").removesuffix("’s") for word in words(answer)}
    return len(kept) < KEPT * len(known)


CHECKS: Mapping[str, Check] = {  # reason -> whether (source, answer, all that was shown) fails
    "not_longer": lambda source, answer, shown: len(words(answer)) <= len(words(source)),
    "not_shorter": lambda source, answer, shown: len(words(answer)) >= len(words(source)),
    "unchanged": lambda source, answer, shown: normalised(source) == normalised(answer),
    "too_changed": _too_changed,
    "not_trimmed": lambda source, answer, shown: _in_order(source, answer) < TRIMMED * len(normalised(answer).split()),
    "lost_number": lambda source, answer, shown: not quantities(source) <= quantities(answer),
    "lost_name": _lost_name,
    "new_number": lambda source, answer, shown: not _numbers(answer) <= _numbers(shown),
}


@dataclass(frozen=True)
class Style:
    """needs: variables that its template has to ask for. fewest: words of the text it starts from. lesson: see above.

    checks: reasons in the order in which they are tested. extracts: whether a part of the source is a good answer.
    drops: whether examples leave out facts, because the text alone has to carry the answer.
    """

    needs: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    fewest: int = FEWEST_WORDS
    lesson: Lesson = lambda text, terms, rng: (shorter(text, rng), text)
    extracts: bool = False
    drops: bool = False
    kind: Kind = "description"


STYLES = {
    "describe": Style(("facts",)),
    "expand": Style(("description",), ("not_longer", "new_number")),
    "paraphrase": Style(
        ("description",),
        ("lost_number", "new_number"),
        lesson=lambda text, terms, rng: (noisy(text, rng), text),
        drops=True,
    ),
    "condense": Style(
        ("description",),
        ("not_shorter", "lost_number", "lost_name", "new_number"),
        fewest=8,
        lesson=_condensed,
        extracts=True,
        drops=True,
    ),
    "trim": Style(
        ("description",),
        ("not_shorter", "not_trimmed"),
        fewest=8,
        lesson=lambda text, terms, rng: (padded(text, rng), text),
        extracts=True,
        drops=True,
    ),
    "swap": Style(
        ("description",),
        ("unchanged", "too_changed", "lost_number", "new_number"),
        lesson=lambda text, terms, rng: (swapped(text, terms, rng), text),
    ),
    "fuse": Style(("texts",), ("new_number",), drops=True),
    "attributes": Style(("missing", "choices"), drops=True, kind="attributes"),
}
OWN = Style()  # of a template whose name is none of these


def fault(style: Style, source: str, answer: str, shown: str) -> str:
    """The first reason why the answer is not what the style promises, or ''."""
    return next((reason for reason in style.checks if CHECKS[reason](source, answer, shown)), "")
