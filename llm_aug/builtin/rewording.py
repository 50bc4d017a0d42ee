"""A text in other words by rule: synonyms, clauses moved to the front, sentences cut in two; names and numbers stay.

"The film begins in a small town in 1944."  ->  "In 1944, the movie starts in a little town."
"""

from __future__ import annotations

import re

import numpy as np

from llm_aug.text import sentences, words

CHANGED = 0.05  # of the words at least: what has changed less is a copy
SWAPPED = 0.8  # of the words that have a synonym
# Each stands for the other in any sentence, as far as a list of words can promise that.
_PAIRS = (
    "film movie|films movies|story tale|begin start|begins starts|began started|big large|bigger larger|small little|"
    "quickly rapidly|fast quick|often frequently|buy purchase|nearly almost|perhaps maybe|entire whole|"
    "intelligent clever|rich wealthy|angry furious|strange odd|frightened scared|tired weary|"
    "helps aids|help aid|shows displays|discovers uncovers|tries attempts|tried attempted|trying attempting|"
    "gets receives|requires needs|required needed|ends finishes|ended finished|"
    "kid child|kids children|father dad|mother mom|physician doctor|lawyer attorney|error mistake|errors mistakes|"
    "job occupation|ocean sea|stone rock|street road|battle fight|battles fights|"
    "attractive appealing|durable sturdy|comfortable comfy|simple easy|ideal perfect|elegant graceful|"
    "soft gentle|premium high-quality|multiple several|many numerous|various different|"
    "includes contains|include contain|including containing|built constructed|crafted made|creates makes|create make|"
    "create produce|provides offers|provide offer|providing offering|allows lets|allow let|improve enhance|"
    "additionally moreover|however nevertheless|"
    "therefore thus|because since|although though|while whereas|until till|upon on|within inside|towards toward|"
    "humorous funny|famous well-known|important significant|difficult hard|dangerous hazardous|modern contemporary|"
    "ancient old|huge enormous|tiny minuscule|real actual|total complete|"
    "murdered killed|murder killing|wed marry|pupil student|pupils students|companion friend|companions friends|"
    "assist support|choose select|chooses selects|keep retain|"
    "shop store|shops stores"
)
SYNONYMS: dict[str, list[str]] = {}
for _pair in _PAIRS.split("|"):
    _one, _, _other = _pair.partition(" ")
    SYNONYMS.setdefault(_one, []).append(_other)
    SYNONYMS.setdefault(_other, []).append(_one)
_TOKEN = re.compile(r"[A-Za-z-]+")
_IN_YEAR = re.compile(r"^(?P<rest>[^,;:]{12,}?),? (?P<when>in (?:the )?(?:\d{4}s?|[a-z]+ \d{4}))\.$")
_OPENING = re.compile(r"^(?P<when>(?:In|During|After|Before|With|At|For) [^,;:]{3,40}), (?P<rest>[^;:]{12,})\.$")
_AND = re.compile(r"^(?P<first>[^;:]{25,}?), (?:and|but) (?P<who>it|he|she|they|we|you) (?P<second>[^;:]{12,})\.$")
_STARTERS = frozenset(
    {
        "the",
        "a",
        "an",
        "this",
        "that",
        "these",
        "those",
        "his",
        "her",
        "its",
        "their",
        "he",
        "she",
        "it",
        "they",
        "we",
        "you",
    }
)


def reworded(text: str, rng: np.random.Generator) -> str:
    """'' where fewer than CHANGED of the words came out another way."""
    told = " ".join(_moved(sentence, rng) for sentence in sentences(text))
    swaps = 0

    def swap(found: re.Match[str]) -> str:
        nonlocal swaps
        word = found[0]
        others = SYNONYMS.get(word.lower())
        if others is None or not (word.islower() or (word.istitle() and _starts(told, found.start()))):
            return word
        if rng.random() >= SWAPPED:
            return word
        swaps += 1
        other = others[int(rng.integers(len(others)))]
        return other.capitalize() if word.istitle() else other

    made = _TOKEN.sub(swap, told)
    moves = 2 * (told != text)
    return made if swaps + moves >= max(2, CHANGED * len(words(text))) else ""


def _starts(text: str, place: int) -> bool:
    """Whether a sentence begins there, so that its capital letter says nothing."""
    return place == 0 or text[:place].rstrip().endswith((".", "!", "?"))


def _moved(sentence: str, rng: np.random.Generator) -> str:
    """With its time at the other end, or in two sentences; most have neither."""
    if found := _AND.match(sentence):
        return f"{found['first']}. {found['who'].capitalize()} {found['second']}."
    if found := _IN_YEAR.match(sentence):
        return f"{found['when'].capitalize()}, {_lowered(found['rest'])}."
    if (found := _OPENING.match(sentence)) and rng.random() < 0.7:
        when = found["when"][0].lower() + found["when"][1:]
        return f"{found['rest'][0].upper()}{found['rest'][1:]} {when}."
    return sentence


def _lowered(text: str) -> str:
    first = text.split()[0]
    return text[0].lower() + text[1:] if first.lower() in _STARTERS else text
