"""What a text claims that another text bears out or not: its numbers with their units, and its names.

{"1,000 sheets, 8-inch, two packs"} claims 1000, 8 inch and 2; {"Rocky IV"} bears out 4.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from llm_aug.numerals import CLAIMING, ROMAN, SAID, SCALES, roman, spelled, word_numbers
from llm_aug.text import CJK, QUANTITY, WORD, measurable, unit_of, words

_SCALE = re.compile(r"[ -]?(hundred|thousand|million|billion)\b", re.IGNORECASE)
_DOTTED = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?")  # thousands, as Germans write them
# Patterns that begin with a set and then look behind are tried at members of the set alone, not everywhere.
_SPAN = re.compile(r"\d(?<!\d\d)\d\d\d\s?[-–—]\s?(\d\d)(?!\d)")  # 1939-45
_SPAN_BEFORE = re.compile(r"(?<!\d)(\d\d)\d\d\s?[-–—]\s?\Z")
_SPOKEN_OF = re.compile(r"\b(?:the|these|those|all|any|other|his|her|their|its|our|your|my)\s$", re.IGNORECASE)
_UNDER = re.compile(r"[/⁄](?<=\d.)(\d+)(?![\d/⁄])")
_OVER = re.compile(r"(?<![\d/⁄])(?:(?P<whole>\d+)[\s-])?(?P<over>\d+)\Z")
_DECADE = re.compile(r"['’]?s\b")
_W = rf"[^\W{CJK}]"  # Chinese stands beside a name without a space
_NAME = re.compile(rf"(?<!{_W})[^\W\d_{CJK}]{_W}*(?:['’]{_W}+)?")
_CAPITAL = re.compile(  # begins with a set, so that re skips to the next member of it; then looks behind that
    rf"[^\W\d_a-z{CJK}](?<!{_W}.)(?<!{_W}['’].)(?!(?<=I)(?:['’](?:m|d|ve|ll))?\b)(?:{_W}+(?:['’]{_W}+)?|['’]{_W}+)",
    re.DOTALL,
)
_STARTS = frozenset('\n.!?…。！？¡¿:：;；•*|/"“”„«»「『【（([{–—')  # after these any word may have a capital letter
_BETWEEN = frozenset(" \t'‘’")
# Begin a sentence without being a name, even where a title is "It" and no prose of the catalogue has it small.
OPENERS = frozenset(
    re.findall(
        r"\w+",
        "a an the this that these those it its he his she her they their we our us you your i my who what when where "
        "while if as at by for from in into of on with and but or so yet not no all some one two both each there here",
    )
)
NOUNS = 0.25  # share of the words inside sentences that have a capital: German 0.29 to 0.33, other languages up to 0.12
NAME_SHARE = 0.1  # a word that the catalogue writes small in a tenth of the texts that hold it is no name
STEM = 4  # letters: Japan bears out Japanese, and the other way round


@dataclass(frozen=True)
class Known:
    """numbers: the units that stand with each number, '' for none. words: casefolded, without accents."""

    numbers: Mapping[str, frozenset[str]]
    words: frozenset[str]


def canonical(number: str) -> str:
    """'1000.0' and '1000' are one; so are '2,5' and '2.5'; '1.2.3' stays."""
    if "," in number:
        number = measurable(number).replace(",", ".")
    if number.count(".") == 1:
        number = number.rstrip("0").rstrip(".")
    return number.lstrip("0") or "0"


def plain(text: str) -> str:
    """Casefolded, compatibility forms and accents removed: 'Téa' -> 'tea'."""
    if text.isascii():
        return text.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


@lru_cache(1 << 16)
def _base(word: str) -> str:
    return plain(word).removesuffix("'s").removesuffix("’s").replace("'", "").replace("’", "")


def _readings(found: re.Match[str]) -> list[str]:
    """Of a match of QUANTITY: '5 million' is 5000000, '1.000' is 1000, and '1.250' that many or a bit more than one."""
    number = found["number"]
    scale = _SCALE.match(found.string, found.end()) if found.lastgroup == "number" else None
    if scale and number.count(".") < 2:
        return [canonical(f"{float(canonical(number)) * SCALES[scale[1].lower()]:.2f}")]
    if "." in number and _DOTTED.fullmatch(number):
        whole = canonical(number.replace(".", ""))
        return [whole] if number.endswith(".000") else [whole, canonical(number)]
    return [canonical(number)]


def _listed(number: str) -> list[str]:
    """'3,4' may be two sizes."""
    return [canonical(part) for part in number.split(",")] if "," in number else []


def known(text: str) -> Known:
    """All that a text bears out: digits, spelled and Roman numbers, fractions, every word and every two that touch."""
    text = measurable(text)
    numbers: dict[str, set[str]] = {}
    for found in QUANTITY.finditer(text):
        for reading in (*_readings(found), *_listed(found["number"])):
            numbers.setdefault(reading, set()).add(unit_of(found))
    spans = (found[0][:2] + found[1] for found in _SPAN.finditer(text))
    counted = map(str, (*map(spelled, word_numbers(text, SAID)), *map(roman, ROMAN.finditer(text))))
    for number in (*counted, *spans):
        numbers.setdefault(number, set()).add("")
    for _, unit, values in _fractions(text):
        for value in values:
            numbers.setdefault(value, set()).add(unit)
    said = [_base(word) for word in WORD.findall(plain(text))]
    joined = {one + other for one, other in pairwise(said)}
    return Known({number: frozenset(units) for number, units in numbers.items()}, frozenset(said) | joined)


def _fractions(text: str) -> Iterator[tuple[slice, str, list[str]]]:
    """Each with its unit and its value: '8-1/2' is 8.5; to four digits and to two, and what is over the whole alike."""
    for found in _UNDER.finditer(text) if "/" in text or "⁄" in text else ():
        above = _OVER.search(text, max(0, found.start() - 12), found.start())
        if above and (under := int(found[1])):
            part = int(above["over"]) / under
            values = dict.fromkeys((int(above["whole"] or 0) + part, part))
            last = QUANTITY.match(text, found.start(1))
            told = [canonical(f"{value:.{digits}f}") for value in values for digits in (4, 2)]
            yield slice(above.start(), found.end()), unit_of(last) if last else "", told


def invented_numbers(text: str, row: Known) -> list[str]:
    """As written, those that the row does not hold, or holds with other units only.

    A decade is borne out by any of its years. 'one' and 'first' claim nothing, nor does 'the two'.
    """
    text = measurable(text)
    odd = [found[0].strip() for found in QUANTITY.finditer(_without_fractions(text, row)) if not _holds(row, found)]
    for found in word_numbers(text, CLAIMING):
        if _counts(found, row) and not _SPOKEN_OF.search(text, max(0, found.start() - 8), found.start()):
            odd.append(text[found.start() : found.end()])
    return odd


def _counts(found: re.Match[str], row: Known) -> bool:
    """Whether a number in words is none of the row's; 'a thousand' or 'some thousand' may be any of its thousands."""
    value = spelled(found)
    if not found["cardinal"] or value == 1 or str(value) in row.numbers:
        return False
    several = (int(number) for number in row.numbers if number.isdecimal()) if found["cardinal"] in SCALES else ()
    return not any(number and number % value == 0 for number in several)


def _without_fractions(text: str, row: Known) -> str:
    """Spaces stand for those that the row holds, of whole ones and more to two digits."""
    for place, unit, (exact, rounded, *_) in _fractions(text):
        held = row.numbers.get(exact if exact.startswith(".") or exact in row.numbers else rounded)
        if held and _fits(unit, held):
            text = text[: place.start] + " " * (place.stop - place.start) + text[place.stop :]
    return text


def _fits(unit: str, held: frozenset[str]) -> bool:
    """Whether a number may have this unit: where the row gives it a unit, that one or none."""
    return not unit or unit in held or held == {""}


def _holds(row: Known, found: re.Match[str]) -> bool:
    """found: of QUANTITY."""
    readings, unit = _readings(found), unit_of(found)
    if held := [row.numbers[reading] for reading in readings if reading in row.numbers]:
        return any(_fits(unit, units) for units in held)
    parts, number = _listed(found["number"]), readings[0]
    if parts and row.numbers.keys() >= set(parts):
        return True
    if len(number) == 2 and (before := _SPAN_BEFORE.search(found.string, max(0, found.start() - 8), found.start())):
        return before[1] + number in row.numbers
    if not (number.endswith("0") and len(number) in (2, 4) and _DECADE.match(found.string, found.end())):
        return False
    return any(len(year) == 4 and year[-len(number) : -1] == number[:-1] for year in row.numbers)


def lost_quantities(source: str, text: str) -> tuple[list[str], int]:
    """Numbers with a unit of the source that the text does not hold, and how many the source has."""
    text_holds = known(text).numbers
    measures = {
        (canonical(found["number"]), unit_of(found)): found[0].strip()
        for found in QUANTITY.finditer(measurable(source))
        if unit_of(found)
    }
    lost = [said for (number, unit), said in measures.items() if not {unit, ""} & text_holds.get(number, frozenset())]
    return lost, len(measures)


def capitalised(text: str) -> Iterator[tuple[str, int, bool]]:
    """Each word with a capital first letter, its place, and whether it stands where any word may have one."""
    for found in _CAPITAL.finditer(text):
        if found[0][0].isupper():
            place = found.start()
            while place and text[place - 1] in _BETWEEN:
                place -= 1
            yield found[0], found.start(), not place or text[place - 1] in _STARTS


@dataclass(frozen=True)
class Vocabulary:
    """Of a catalogue. common: words that are no names. names: words that it hardly writes without a capital letter.

    labels: attribute values of words that may be common, as the brand 'Brother'. capitals: the share of the words
    inside its sentences that have one; from NOUNS on it writes every noun so, and a capital letter makes no name.
    """

    common: frozenset[str]
    names: frozenset[str]
    labels: frozenset[tuple[str, ...]]
    capitals: float = 0.0

    @staticmethod
    def of(prose: Iterable[str], titles: Iterable[str], labels: Iterable[str]) -> Vocabulary:
        """Counts each text once. At the start of a sentence of prose a capital letter says nothing."""
        small, large, told = Counter[str](), Counter[str](), set(labels)
        inside, capitals = 0, 0
        for text in prose:
            small.update({_base(found[0]) for found in _NAME.finditer(text) if found[0][0].islower()})
            found = list(capitalised(text))
            within = [word for word, _, start in found if not start]
            large.update({_base(word) for word in within})
            capitals, inside = capitals + len(within), inside + len(words(text)) - len(found) + len(within)
        for text in (*titles, *told):
            large.update({_base(word) for word, _, _ in capitalised(text)})
        common = {word for word, count in small.items() if count >= NAME_SHARE * (count + large[word])}
        values = {tuple(map(_base, words(label))) for label in told if label[:1].isupper()}
        named = large.keys() - common - OPENERS
        return Vocabulary(frozenset(common), frozenset(named), frozenset(values), capitals / max(1, inside))


def invented_names(text: str, row: Known, vocabulary: Vocabulary) -> list[str]:
    """Capitalised words, as written, that neither the row nor the catalogue's common words hold, and foreign labels.

    Where any word may have a capital letter, only what is a name elsewhere in the catalogue counts.
    """
    odd = []
    runs: list[list[str]] = [[]]
    end = -1
    for word, place, start in capitalised(text):
        base = _base(word)
        if start or text[end:place].strip():
            runs.append([])
        end = place + len(word)
        if not start:
            runs[-1].append(word)
        if (start and base not in vocabulary.names) or not vocabulary.common.isdisjoint((base, base.removesuffix("s"))):
            continue
        if not _borne_out(base, row) and not _numeral(word, row):
            odd.append(word)
    for run in filter(None, runs):
        label = tuple(map(_base, run))
        if label in vocabulary.labels and not row.words.issuperset(label) and not set(run) & set(odd):
            odd.append(" ".join(run))
    return odd


def _borne_out(base: str, row: Known) -> bool:
    """Whether the row has the word, its plural or singular, or one that it begins or that begins it (see STEM)."""
    if {base, base.removesuffix("s"), f"{base}s"} & row.words:
        return True
    return len(base) >= STEM and any(
        len(other) >= STEM
        and abs(len(base) - len(other)) <= STEM
        and (other.startswith(base) or base.startswith(other))
        for other in row.words
    )


def _numeral(word: str, row: Known) -> bool:
    found = ROMAN.fullmatch(word)
    return found is not None and str(roman(found)) in row.numbers
