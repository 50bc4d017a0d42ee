"""Answers in words: what reviews, queries and profiles share in being read, and how item text is shown to be read."""

from __future__ import annotations

import re
from typing import Any

from llm_aug.tasks import Rejected
from llm_aug.text import CHAT_TOKENS, is_whole, normalised, one_line, sentences, words

FEWEST_WORDS = 3
LINE_WORDS = 4  # of a line of the prompt that is not given back by chance: "Genres: Drama" may be
NO_QUERY = frozenset({"yes", "no", "none", "n a"})  # what a model says that was taught another question
LONGEST_QUERY = 8  # words; a longer line is a sentence about the item
_REVIEW = re.compile(r"^[\s*#>\"-]*review\b[\s*]*[:=-]", re.IGNORECASE | re.MULTILINE)
_NEXT = re.compile(r"\n\s*\n|^[\s*#>-]*(?:rating|review|user|new item)\b[\s*]*[:=]", re.IGNORECASE | re.MULTILINE)
_LABEL = re.compile(r"^[\s*#>-]*(?:search )?(?:quer(?:y|ies)|tags?)\b[\s*]*\d*[\s*]*:", re.IGNORECASE)
_BULLET = re.compile(r"^(?:\d{1,2}[.):](?=\s)|[-*•–>]+)\s*")


def shown(value: Any) -> str:
    """Item text as data: one line, so that it cannot pose as another field, and without chat tokens."""
    return one_line(CHAT_TOKENS.sub(" ", str(value)))


def whole(text: str, cut: bool) -> str:
    """One line; of a cut answer the whole sentences. Raises Rejected('truncated') where there is none."""
    text = one_line(text).strip('*"“” ')
    if cut and text:
        parts = sentences(text)
        text = " ".join(parts if is_whole(parts[-1]) else parts[:-1])
        if not text:
            raise Rejected("truncated")
    return text


def is_echo(answer: str, asked: str, allowed: str = "") -> bool:
    """At least FEWEST_WORDS that stand in the prompt; or the prompt, or a line of it, given back, LINE_WORDS at least.

    allowed: a text of the prompt that may be repeated.
    """
    lines = {line: normalised(line) for line in asked.splitlines()}
    said, prompt, own = (
        f" {text} " for text in (normalised(answer), " ".join(filter(None, lines.values())), normalised(allowed))
    )
    told = [f" {text} " for line, text in lines.items() if line.startswith("- ") or ":" in line] + [prompt]
    if any(line in said and line not in own for line in told if len(line.split()) >= LINE_WORDS):
        return True
    return len(said.split()) >= FEWEST_WORDS and said in prompt and said not in own


def review_in(text: str, cut: bool) -> str:
    """The words after 'Review:', up to where the model goes on with something else. Rejected: no_review, truncated."""
    label = _REVIEW.search(text)
    text = (text if label is None else text[label.end() :]).strip()
    following = _NEXT.search(text)
    review = whole(text, cut) if following is None else whole(text[: following.start()], cut=False)
    if len(words(review)) < FEWEST_WORDS:
        raise Rejected("no_review")
    return review


def queries_in(text: str, asked: str, cut: bool) -> list[str]:
    """Each line once, without bullets and labels; one line alone is taken apart at its commas.

    Left out are the item's title, lines of the prompt and sentences. Rejected: truncated, no_queries, echo, too_long.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) == 1:
        lines = re.split(r"[,;|]", _LABEL.sub("", lines[0]))
    if cut:
        lines = lines[:-1]
        if not lines:
            raise Rejected("truncated")
    told: dict[str, str] = {}
    for line in lines:
        query = _BULLET.sub("", one_line(_LABEL.sub("", line))).strip(" \"'“”*.")
        told.setdefault(normalised(query), query)
    said = {key: query for key, query in told.items() if key and key not in NO_QUERY}
    known = {normalised(line) for line in asked.splitlines()}
    known |= {normalised(line.removeprefix("Title:")) for line in asked.splitlines() if line.startswith("Title:")}
    new = [query for key, query in said.items() if key not in known]
    short = [query for query in new if len(query.split()) <= LONGEST_QUERY]
    if not short:
        raise Rejected("too_long" if new else "echo" if said else "no_queries")
    return short
