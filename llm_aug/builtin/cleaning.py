"""What of the corpus may be read: repaired text, openly licensed, without letters to people, and each thing once."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_aug.builtin.examples import Row
from llm_aug.builtin.reserved import reserved
from llm_aug.seeds import mixed
from llm_aug.text import normalised

SHINGLE = 3  # words
PERMUTATIONS, BANDS = 32, 8  # a pair of Jaccard index 0.8 is found with probability 0.985
SAME = 0.8  # Jaccard index of word shingles from which two rows count as one
OPEN_GAME_LICENCE = "ogl-10a"  # wants its own text shipped beside what is made from it
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\ufeff]")
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n(?:\s*\n)+ ?")
_EMAIL_MARKS = ("Message-ID", "@", "Enron", "enron", "Subject:", "Cc:", "From:", "X-From")
_BLOCK = 2_000_000  # shingles hashed at once


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
    """Keeps the first of rows that say the same, in letters or nearly: MinHash (Broder 1997) finds, Jaccard decides.

    A pair's question is a part of what it says: two questions with one answer are two rows.
    """
    said = [normalised(f"{row.get('input', '')} {row['text']}") for row in rows]
    shingles = _shingled(said)
    signatures = _signatures(shingles)
    seen: set[str] = set()
    found: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    kept: list[int] = []
    dropped = Counter[str]()
    for place, text in enumerate(said):
        keys = [(band, part.tobytes()) for band, part in enumerate(np.split(signatures[place], BANDS))]
        near = {other for key in keys for other in found.get(key, ())}
        if text in seen or any(_jaccard(shingles[place], shingles[other]) >= SAME for other in near):
            dropped["exact" if text in seen else "near"] += 1
            continue
        seen.add(text)
        kept.append(place)
        for key in keys:
            found[key].append(place)
    return Unlike(kept, dropped)


def _shingled(texts: Sequence[str]) -> list[NDArray[np.uint64]]:
    """Hashes of runs of SHINGLE words; of a shorter text, of the whole."""
    ids: dict[str, int] = {}
    found = []
    for text in texts:
        words = mixed(np.array([ids.setdefault(word, len(ids) + 1) for word in text.split()] or [0], np.uint64))
        run = min(SHINGLE, len(words))
        hashes = np.zeros(len(words) - run + 1, np.uint64)
        for place in range(run):
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + words[place : len(words) - run + 1 + place]
        found.append(np.unique(hashes))
    return found


def _signatures(shingles: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """[rows, PERMUTATIONS]: the least hash of each row under each permutation."""
    salts = mixed(np.arange(1, PERMUTATIONS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    signatures = np.zeros((len(shingles), PERMUTATIONS), np.uint64)
    sizes = np.array([len(one) for one in shingles])
    first = 0
    while first < len(shingles):
        last = max(first + 1, int(np.searchsorted(np.cumsum(sizes[first:]), _BLOCK)) + first)
        every = np.concatenate(shingles[first:last])
        starts = np.concatenate([[0], np.cumsum(sizes[first : last - 1])])
        for column, salt in enumerate(salts):
            signatures[first:last, column] = np.minimum.reduceat(mixed(every ^ salt), starts)
        first = last
    return signatures


def _jaccard(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    if min(len(one), len(other)) < SAME * max(len(one), len(other)):
        return 0.0
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)
