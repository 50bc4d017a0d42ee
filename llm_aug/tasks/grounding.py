"""Titles that a model wrote -> items of the catalogue, or a reason why not.

"3. Matrix, The (1999) - a classic" is the one item titled "The Matrix" of 1999. What merely resembles a title has to
resemble it more than two titles of the catalogue resemble each other, or it is no item: never a silent nearest match.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import pandas as pd

from llm_aug import seeds
from llm_aug.errors import InputError, did_you_mean
from llm_aug.text import CHAT_TOKENS, normalised, one_line
from llm_aug.vectors import Cached, Encoder, Index, Vectors, finite, load_encoder

RELEASES = ("release_date", "released", "release_year", "year", "date", "published", "publication_year")
FALSE_MATCH = 0.05  # of titles that the catalogue lacks, the share whose nearest title may pass for them
MARGIN = 0.05
LINE_CHARS = 400  # an answer without line ends is no title; regular expressions need not read all of it
SAMPLE = 2000  # titles that the thresholds are measured on: the 95 % quantile is then known to one per cent of them
NEIGHBOURS = 8  # looked at for one with the same numbers: "Rocky 3" has as many as there are films
ROUNDING = 1e-5  # two ways to write one bag of words have the cosine 1.0000001
WORD_CHARS = 16
_YEAR = re.compile(r"\s*[(\[]\s*((?:1[5-9]|20)\d\d)\b[^()\[\]]{0,20}[)\]]")
_ARTICLE = re.compile(r"^(.+), (the|an?|les?|la|el|il|der|die|das)$", re.IGNORECASE)
_BULLET = re.compile(
    r"^[\s\[]*(?:[-*•·‣–—>+]+\s+)*(?:[(\[#]?\d{1,3}(?:[.):\]]+(?:\s+|(?!\d))|\s+-\s+))?(?:title\s*:\s*)?", re.IGNORECASE
)
_QUOTED = re.compile(r"^(?:\"|“|«|\*\*|__|\*|_)(.+?)(?:\"|”|»|\*\*|__|\*|_)(?!\w)")
_COMMENT = re.compile(r"\s+(?:[-–—|]+\s+(?=[^\W\d_A-Z]|.*[.!?]$)|\((?=[^\W\d_A-Z]))")  # a title begins with a capital
_ROMAN = re.compile(r"(?:x{0,2})(?:ix|iv|v?i{0,3})")
_DATE = re.compile(r"\s*((?:1[5-9]|20)\d\d)(?:-(\d\d))?(?:-(\d\d))?(?!\d)")


def shown(title: str, words: int) -> str:
    """A title as prompts show it: one line without chat tokens, cut to so many words."""
    text = one_line(CHAT_TOKENS.sub(" ", title))
    return " ".join(text.split()[:words])[: words * WORD_CHARS].rstrip()


def lines(text: str, truncated: bool) -> list[str]:
    """What may be titles: lines with a word in them, but no "Here are five films:"; a cut last line is left out."""
    found = text.splitlines()
    if truncated:
        found = found[:-1]
    cleaned = (one_line(CHAT_TOKENS.sub(" ", line[:LINE_CHARS])) for line in found)
    return [line for line in cleaned if normalised(line) and not line.endswith(":")]


def readings(line: str) -> list[str]:
    """The line, then without its bullet or number, then without what is said about the title: the first that fits."""
    unmarked = _BULLET.sub("", line, count=1)
    year = _YEAR.search(unmarked, 1)
    said = unmarked[: year.end()] if year else unmarked
    quoted = _QUOTED.match(said)
    bare = quoted[1] if quoted else _COMMENT.split(said, maxsplit=1)[0]
    return [part for part in dict.fromkeys((line, unmarked, said, bare)) if normalised(part)]


def key(title: str) -> str:
    """Equal for two ways to write a title: case, marks, a year in brackets at its end, "Matrix, The"."""
    ends = [found for found in _YEAR.finditer(title) if found.end() == len(title.rstrip()) and found.start()]
    bare = title[: ends[-1].start()] if ends else title
    return normalised(_ARTICLE.sub(r"\2 \1", bare.strip(" \"'“”*_"))) or normalised(title)


def numbers(title_key: str) -> Counter[str]:
    """Digits and Roman numerals to XXIX: titles that differ in them are different items, however near."""
    words = title_key.split()
    return Counter(word for word in words if any(map(str.isdigit, word)) or (_ROMAN.fullmatch(word) and word))


def moment(value: str) -> int | None:
    """First second of "1995" or "1995-11-22", in Unix seconds; None for anything else."""
    found = _DATE.match(value)
    try:
        year, month, day = (int(part or 1) for part in found.groups()) if found else (0, 0, 0)
        return int(datetime(year, month, day, tzinfo=UTC).timestamp())
    except ValueError:
        return None


def release_column(attributes: Sequence[str], chosen: str | None) -> str | None:
    """The attribute that says when an item came out. Raises InputError for a chosen one that is not there."""
    if chosen is not None and chosen not in attributes:
        raise InputError(f"items have no attribute {chosen!r} for the release; {did_you_mean(chosen, attributes)}")
    return chosen or next((name for name in RELEASES if name in attributes), None)


@dataclass(frozen=True)
class Grounded:
    """item: its id, or '' and a reason: ungrounded, ambiguous (two items fit), other_year. score: cosine."""

    item: str = ""
    reason: str = ""
    score: float = 1.0


class Grounding:
    """The titles of one catalogue. names: how an item is called in prompts and answers, with its year where only that
    tells it apart; items without a title have none. released: Unix seconds, where known.

    floor: cosine above which a title is taken for another; None measures it, so that at most FALSE_MATCH of absent
    titles pass, and none in a catalogue too small to tell. margin: over the runner-up (eval.bench.grounding).
    """

    def __init__(
        self,
        items: pd.DataFrame,
        encoder: str | Encoder = "letters:512",
        floor: float | None = None,
        margin: float = MARGIN,
        release: str | None = None,
        words: int = 12,
    ) -> None:
        titles = dict(zip(items["item_id"], items["title"], strict=True))
        times = titles if release is None else dict(zip(items["item_id"], items[release], strict=True))
        self.released = {item: when for item, value in times.items() if release and (when := moment(value)) is not None}
        self.years = _years(titles, self.released)
        self.items: dict[str, list[str]] = {}
        for item, title in titles.items():
            for one in {key(one_line(title)), key(shown(title, words))} - {""}:
                self.items.setdefault(one, []).append(item)
        self.names = {
            item: self._name(item, shown(title, words)) for item, title in titles.items() if key(shown(title, words))
        }
        self.margin = margin
        self._encoder, self._floor = encoder, floor
        self._seen: dict[str, Grounded] = {}

    def _name(self, item: str, title: str) -> str:
        shared = len(self.items[key(title)]) > 1 and item in self.years and not _YEAR.search(title)
        return f"{title} ({self.years[item]})" if shared else title

    def unique_names(self) -> list[str]:
        """Those that lead back to their item: what a model may write where every title has to be one."""
        return [
            name
            for item, name in self.names.items()
            if lines(name, truncated=False) == [name] and self.ground(name).item == item
        ]

    def released_after(self, when: int) -> list[str]:
        """Names of what came out later."""
        times, names = self._releases
        return names[bisect_right(times, when) :]

    @cached_property
    def _releases(self) -> tuple[list[int], list[str]]:
        """Times, rising, and the names of what came out then."""
        found = sorted((when, self.names[item]) for item, when in self.released.items() if item in self.names)
        return [when for when, _ in found], [name for _, name in found]

    def ground(self, line: str) -> Grounded:
        """The item that a line of an answer names. The same line gets the same answer, whatever was asked before."""
        if line not in self._seen:
            self._seen[line] = self._ground(line)
        return self._seen[line]

    def _ground(self, line: str) -> Grounded:
        year = _YEAR.search(line, 1)
        wanted = int(year[1]) if year else None
        forms = [key(form) for form in readings(line)]
        for form in forms:
            if form in self.items:
                return self._one_of(self.items[form], wanted, 1.0)
        return self._near(forms[-1], wanted) if forms else Grounded(reason="ungrounded", score=0.0)

    def _one_of(self, items: Sequence[str], wanted: int | None, score: float) -> Grounded:
        """The year in the answer decides between items; a year off by one is another country's premiere."""
        if wanted is not None:
            apart = {item: abs(self.years[item] - wanted) for item in items if item in self.years}
            closest = min(apart.values(), default=2)
            if closest <= 1:
                items = [item for item in items if apart.get(item) == closest]
            elif len(apart) == len(items):
                return Grounded(reason="other_year", score=score)
        return Grounded(items[0], score=score) if len(items) == 1 else Grounded(reason="ambiguous", score=score)

    def _near(self, text: str, wanted: int | None) -> Grounded:
        vector = self.encoder.encode([text])
        if len(self._keys) < 2 or not finite(vector).all():  # of one title nothing can be measured
            return Grounded(reason="ungrounded", score=0.0)
        best, second, row = self._best(vector, [text], [()])[0]
        if best <= self.floor + ROUNDING:
            return Grounded(reason="ungrounded", score=best)
        if best - second < self.margin:
            return Grounded(reason="ambiguous", score=best)
        return self._one_of(self.items[self._keys[row]], wanted, best)

    def _best(
        self, vectors: Vectors, texts: Sequence[str], own: Sequence[Sequence[str]]
    ) -> list[tuple[float, float, int]]:
        """(best score, second score of other items, row of the best or -1) among titles with the text's numbers.

        own: items to leave out, for each text.
        """
        found = []
        for text, left_out, scores, rows in zip(texts, own, *self._index.search(vectors, NEIGHBOURS), strict=True):
            wanted = numbers(text)
            best, second, chosen = 0.0, 0.0, -1
            for score, row in zip(scores.tolist(), rows.tolist(), strict=True):
                items = self.items[self._keys[row]]
                if set(items) <= set(left_out) or numbers(self._keys[row]) != wanted:
                    continue
                if chosen < 0:
                    best, chosen = score, row
                elif set(items) != set(self.items[self._keys[chosen]]):
                    second = score
                    break
            found.append((best, second, chosen))
        return found

    @cached_property
    def _keys(self) -> list[str]:
        return sorted(self.items)

    @cached_property
    def encoder(self) -> Encoder:
        return load_encoder(self._encoder, self._keys) if isinstance(self._encoder, str) else self._encoder

    @cached_property
    def _vectors(self) -> Vectors:
        vectors = Cached(self.encoder).encode(self._keys)  # lines of answers are not: each would be a file
        vectors[~finite(vectors)] = 0.0
        return vectors

    @cached_property
    def _index(self) -> Index:
        return Index(self._vectors)

    @cached_property
    def floor(self) -> float:
        """The one given, or measured by how near other titles are to a title, as if it were not in the catalogue."""
        if self._floor is not None:
            return self._floor
        usable = np.flatnonzero(finite(self._vectors))
        rows = seeds.generator(0, "grounding").permutation(usable)[:SAMPLE]
        if len(rows) * FALSE_MATCH < 1:  # nine titles cannot tell what one absent title in twenty looks like
            return 1.0
        texts = [self._keys[row] for row in rows]
        found = np.array(self._best(self._vectors[rows], texts, [self.items[text] for text in texts]))
        apart = found[:, 0] - found[:, 1] >= self.margin
        return float(np.quantile(np.where(apart, found[:, 0], 0.0), 1 - FALSE_MATCH))


def _years(titles: Mapping[str, str], released: Mapping[str, int]) -> dict[str, int]:
    """From the release, or else from a year in brackets in the title."""
    told = {item: int(found[1]) for item, title in titles.items() if (found := _YEAR.search(title[:LINE_CHARS], 1))}
    return told | {item: datetime.fromtimestamp(when, UTC).year for item, when in released.items()}
