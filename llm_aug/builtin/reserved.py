"""Titles that the built-in model never reads about: the tenth of any catalogue on which it can be tested."""

from __future__ import annotations

import hashlib
import re

from llm_aug.text import normalised

RESERVED_IN = 10  # titles
_ARTICLES = frozenset({"a", "an", "the"})
_YEAR = re.compile(r"\s*\((?:\d{4}|film|\d{4} film)\)\s*$")


def reserved(title: str) -> bool:
    """By a hash of the title as any catalogue may write it: 'Cable Guy, The (1996)' is 'The Cable Guy'."""
    words = [word for word in normalised(_YEAR.sub("", title)).split() if word not in _ARTICLES]
    return int.from_bytes(hashlib.sha256(" ".join(words).encode()).digest()[:4], "big") % RESERVED_IN == 0
