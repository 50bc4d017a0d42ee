"""What each style of rewriting learns from: (text to show, answer), made by rule of an item's own text and facts.

An answer holds nothing that neither the text shown nor the facts hold; ("", "") where the item teaches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from llm_aug.tasks.rewording import is_changed, reworded, swapped
from llm_aug.tasks.told import Facts, borne_out, told
from llm_aug.text import is_whole, names, quantities, sentences, words

FILLER_WORDS = ("really", "simply", "truly", "of course", "without a doubt", "as you may know", "in fact")
FILLER_SENTENCES = ("You will love it!", "Great value!", "Look no further.", "Order yours today!", "Simply the best.")
SHARED = 0.15  # of the sentences dealt to one source are told by another one too
_LIGHT = (
    "really very just also even quite simply truly actually finally eventually ultimately suddenly soon now then "
    "however indeed totally completely absolutely extremely especially particularly literally basically certainly "
    "definitely probably apparently seemingly quickly slowly easily carefully desperately mysteriously secretly "
    "unexpectedly accidentally immediately constantly deeply highly perfectly beautifully incredibly"
)
_LIGHT_WORDS = frozenset(words(_LIGHT))
_ASIDE = re.compile(r" \([^()]*\)")
_TAIL = re.compile(  # the last clause of a sentence
    r",? (?:while|when|until|because|so that)\b[^,;:]*(?=[.!?]$)"
    r"|, (?:who|which|where|before|after|[a-z]+ing|(?:and|but|as|so) (?:he|she|it|they|we|you))\b[^,;:]*(?=[.!?]$)"
)
HEAD = 5  # words that stay before a clause that goes
SHORTEST = 10  # words of a gist: no catalogue's shortest descriptions need be longer to pass the filter

Lesson = Callable[[str, Facts, np.random.Generator], tuple[str, str]]


def described(text: str, facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    """The facts in sentences, then what the text says of them; no text is shown."""
    return "", " ".join([told(facts, rng), *borne_out(text, facts)])


def expanded(text: str, facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    """The text, before or after it what the facts add."""
    parts = [ended(swapped(text, rng)), told(facts, rng)]
    return text, " ".join(parts if rng.random() < 0.5 else parts[::-1])


def ended(text: str) -> str:
    return text if is_whole(text) else f"{text.rstrip(' ,;:-')}."


def paraphrased(text: str, facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    """In other words; where the rules find too few, after a sentence with one of its facts, or with all."""
    if other := reworded(text, rng):
        return text, other
    if len(facts) < 2:
        return "", ""
    for some in ([facts[0], facts[int(rng.integers(1, len(facts)))]], facts):
        other = f"{told(some, rng)} {swapped(text, rng)}"
        if is_changed(text, other):
            return text, other
    return "", ""


def synonymous(text: str, facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    """With synonyms, where there are enough; nothing else moves."""
    other = swapped(text, rng)
    return (text, other) if is_changed(text, other) else ("", "")


def condensed(text: str, facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    """A text and its gist; a text without anything to spare is made longer first."""
    short = " ".join(pruned(sentence) for sentence in gist(text))
    is_gist = is_changed(text, short) and len(short.split()) >= SHORTEST
    return (text, short) if is_gist else trimmed(text, facts, rng)


def trimmed(text: str, facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    return padded(text, rng), text


def padded(text: str, rng: np.random.Generator) -> str:
    """With filler in sentences, between sentences, and one sentence said twice: never shorter, order kept."""
    parts = []
    for sentence in sentences(text):
        said = sentence.split()
        places = [place for place, word in enumerate(said, 1) if word.isalpha() and word.islower()][:-1]
        if places:  # neither in a name nor between a number and its unit
            said.insert(places[int(rng.integers(len(places)))], str(rng.choice(FILLER_WORDS)))
        parts.append(" ".join(said))
        if rng.random() < 0.5:
            parts.append(str(rng.choice(FILLER_SENTENCES)))
    again = int(rng.integers(len(parts)))
    return " ".join([*parts[: again + 1], *parts[again:]])


def gist(text: str) -> list[str]:
    """Its first sentence and every later one that brings a new name or number."""
    first, *rest = sentences(text)
    kept, said = [first], _claims(first)
    for sentence in rest:
        if new := _claims(sentence) - said:
            kept.append(sentence)
            said |= new
    return kept


def _claims(sentence: str) -> set[object]:
    return {*names(sentence), *quantities(sentence)}


def pruned(sentence: str) -> str:
    """Without asides, light adverbs and its last clause, where these hold no name and no number."""
    short = _ASIDE.sub(lambda found: found[0] if _tells(found[0]) else "", sentence)
    short = " ".join(word for word in short.split() if word not in _LIGHT_WORDS)
    tail = _TAIL.search(short)
    if tail and not _tells(tail[0]) and len(short[: tail.start()].split()) >= HEAD:
        short = short[: tail.start()] + short[tail.end() :]
    return short


def _tells(part: str) -> bool:
    return bool(names(f"So {part}") or quantities(part))


def dealt(text: str, facts: Facts, labels: Sequence[str], rng: np.random.Generator) -> tuple[dict[str, str], str]:
    """(text by source, all of it once, with synonyms): its sentences dealt in a shuffled order, some of them twice;
    beside a single one the facts in sentences."""
    parts = sentences(text)
    if len(parts) < 2:
        other = told(facts, rng)
        shown = {label: other if turn else text for turn, label in enumerate(labels)}
        return shown, f"{ended(swapped(text, rng))} {other}"
    hands: dict[str, list[str]] = {label: [] for label in labels}
    for turn, place in enumerate(rng.permutation(len(parts)).tolist()):
        own = labels[turn % len(labels)]
        for label in labels:
            if label == own or rng.random() < SHARED:
                hands[label].append(parts[place])
    return {label: " ".join(hand) for label, hand in hands.items()}, swapped(text, rng)
