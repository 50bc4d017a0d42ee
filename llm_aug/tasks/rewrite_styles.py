"""What each style of rewriting needs, promises and learns from: one line a style in STYLES."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from llm_aug.data import Kind
from llm_aug.tasks.rewrite_lessons import Lesson, condensed, described, expanded, paraphrased, synonymous, trimmed
from llm_aug.text import names, normalised, quantities, words

FEWEST_WORDS = 4  # a shorter description ("Office chair.") holds nothing to rewrite
TRIMMED = 0.9  # of a trimmed text's words stand in its source, in order
KEPT = 0.5  # of the words of a text that a swap leaves, and of the names that survive shortening

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
    """needs: variables that its template has to ask for. fewest: words of the text it starts from.

    checks: reasons in the order in which they are tested. extracts: whether a part of the source is a good answer.
    drops: whether examples leave out facts, because the text alone has to carry the answer. lesson: what is learnt of
    an item's text and facts; `fuse` and `attributes` have their own, see `rewrite`.
    """

    needs: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    fewest: int = FEWEST_WORDS
    lesson: Lesson = described
    extracts: bool = False
    drops: bool = False
    kind: Kind = "description"


STYLES = {
    "describe": Style(("facts",)),
    "expand": Style(("description",), ("not_longer", "new_number"), lesson=expanded),
    "paraphrase": Style(("description",), ("lost_number", "new_number"), lesson=paraphrased, drops=True),
    "condense": Style(
        ("description",),
        ("not_shorter", "lost_number", "lost_name", "new_number"),
        fewest=8,
        lesson=condensed,
        extracts=True,
        drops=True,
    ),
    "trim": Style(
        ("description",), ("not_shorter", "not_trimmed"), fewest=8, lesson=trimmed, extracts=True, drops=True
    ),
    "swap": Style(("description",), ("unchanged", "too_changed", "lost_number", "new_number"), lesson=synonymous),
    "fuse": Style(("texts",), ("new_number",), drops=True),
    "attributes": Style(("missing", "choices"), drops=True, kind="attributes"),
}
OWN = Style(lesson=paraphrased)  # of a template whose name is none of these


def fault(style: Style, source: str, answer: str, shown: str) -> str:
    """The first reason why the answer is not what the style promises, or ''."""
    return next((reason for reason in style.checks if CHECKS[reason](source, answer, shown)), "")
