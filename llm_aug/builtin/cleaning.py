"""What of the corpus may be read: repaired text, openly licensed, without letters to people, and each thing once."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from llm_aug.builtin.examples import Row
from llm_aug.builtin.reserved import reserved
from llm_aug.shingles import Overlaps
from llm_aug.text import normalised

SAME = 0.8  # Jaccard index of shingles from which two rows count as one
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\ufeff]")
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n(?:\s*\n)+ ?")
_EMAIL_MARKS = ("Message-ID", "@", "Enron", "enron", "Subject:", "Cc:", "From:", "X-From")


def repaired(row: Row) -> Row:
    """Composed characters, no control characters, single blanks, at most one empty line in a row."""
    return {**row, **{name: _tidied(row[name]) for name in ("text", "input", "output") if row.get(name)}}


def _tidied(text: str) -> str:
    text = _BLANKS.sub(" ", _CONTROL.sub(" ", unicodedata.normalize("NFC", text)))
    return _LINES.sub("\n\n", text).strip()


def fault(row: Row) -> str:
    """Why a row is not read, or ''.

    licence: open5e rows that are not under CC BY 4.0 as well. e-mail: rows of masc with names of people who wrote them.
    reserved: kept for tests, see `reserved`. short: no words to speak of. link: mostly spam and lists.
    """
    attributes = row.get("attrs") or {}
    if row["source"] == "open5e_items" and "cc-by-40" not in (attributes.get("license") or ()):
        return "licence"
    if row["source"] == "nltk_masc_tagged" and any(mark in row["text"] for mark in _EMAIL_MARKS):
        return "e-mail"
    if attributes.get("title") and reserved(str(attributes["title"])):
        return "reserved"
    if len(row["text"]) < 20:
        return "short"
    return "link" if "http" in row["text"] else ""


@dataclass(frozen=True)
class Unlike:
    """places: of rows that no earlier row says already. dropped: exact and near copies, counted."""

    places: list[int]
    dropped: Counter[str]


def unlike(rows: Sequence[Row]) -> Unlike:
    """Keeps the first of rows that say the same, in letters or in SAME of their wording.

    A pair's question is a part of what it says: two questions with one answer are two rows.
    """
    said = [normalised(f"{row.get('input', '')} {row['text']}") for row in rows]
    kept = Overlaps(said, SAME)
    seen: set[str] = set()
    places: list[int] = []
    dropped = Counter[str]()
    for place, text in enumerate(said):
        if text in seen or kept.of(place):
            dropped["exact" if text in seen else "near"] += 1
            continue
        seen.add(text)
        places.append(place)
        kept.add(place)
    return Unlike(places, dropped)
