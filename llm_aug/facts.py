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
from string import ascii_lowercase, ascii_uppercase

from llm_aug.text import QUANTITY, THOUSANDS, unit_of, words

_DIGITS = "one two three four five six seven eight nine"
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NTH = "first second third fourth fifth sixth seventh eighth ninth tenth"
_SPELLED = {word: number for number, word in enumerate(f"{_DIGITS} {_TEENS}".split(), 1)}
_SPELLED |= {word: 10 * number for number, word in enumerate(_TENS.split(), 2)}
_SPELLED |= {"hundred": 100, "thousand": 1000}
_ORDINALS = {word: number for number, word in enumerate(_NTH.split(), 1)}
_AS_MUCH = {"dozen": 12, "pair": 2, "couple": 2, "double": 2, "dual": 2, "twin": 2, "twins": 2, "both": 2, "duo": 2}
_AS_MUCH |= {"triple": 3, "trio": 3, "single": 1, "half": 2, "quarter": 4, "twice": 2, "decade": 10, "century": 100}
_WORD_NUMBER = re.compile(  # of text in small letters: re.IGNORECASE would read a dotless i as an i
    rf"\b(?P<tens>{_TENS.replace(' ', '|')})[- ](?P<ones>{_DIGITS.replace(' ', '|')})\b"
    rf"|\b(?P<word>{'|'.join([*_SPELLED, *_ORDINALS, *_AS_MUCH])})\b"
)
_LOWERED = str.maketrans(ascii_uppercase, ascii_lowercase)
_SPOKEN_OF = re.compile(r"\b(?:the|these|those|all|any|other|his|her|their|its|our|your|my)\s$", re.IGNORECASE)
_ROMAN = re.compile(r"\b(?=[IVXL])(?P<tens>XL|L?X{0,3})(?P<ones>IX|IV|V?I{0,3})\b")
_FRACTION = re.compile(r"(?:(?<![\d/])(?P<whole>\d+)[\s-])?(?<![\d/])(?P<over>\d+)[/⁄](?P<under>\d+)(?![\d/])")
_DECADE = re.compile(r"['’]?s\b")
_SAID = frozenset((*_SPELLED, *_ORDINALS, *_AS_MUCH))
_CLAIMING = frozenset(_SPELLED.keys() - {"one"})
_LOWER = re.compile(r"[a-z]+")
_NAME = re.compile(r"(?<!\w)[^\W\d_]\w*(?:['’]\w+)?")
_CAPITAL = re.compile(  # begins with a set, so that re skips to the next member of it; then looks behind that
    r"[^\W\d_a-z](?<!\w.)(?<!\w['’].)(?!(?<=I)(?:['’](?:m|d|ve|ll))?\b)(?:\w+(?:['’]\w+)?|['’]\w+)", re.DOTALL
)
_WORD = re.compile(r"\w+(?:['’]\w+)?")
_STARTS = frozenset('\n.!?…。！？:;•*|/"“”„«»([{–—')  # after these any word may have a capital letter
_BETWEEN = frozenset(" \t'‘’")
# Begin a sentence without being a name, even where a title is "It" and no prose of the catalogue has it small.
OPENERS = frozenset(
    re.findall(
        r"\w+",
        "a an the this that these those it its he his she her they their we our us you your i my who what when where "
        "while if as at by for from in into of on with and but or so yet not no all some one two both each there here",
    )
)
NAME_SHARE = 0.1  # a word that the catalogue writes small in a tenth of the texts that hold it is no name
STEM = 4  # letters: Japan bears out Japanese, and the other way round


@dataclass(frozen=True)
class Known:
    """numbers: the units that stand with each number, '' for none. words: casefolded, without accents."""

    numbers: Mapping[str, frozenset[str]]
    words: frozenset[str]


def canonical(number: str) -> str:
    """'1,000', '1000.0' and '1000' are one; so are '2,5' and '2.5'; '1.2.3' stays."""
    number = THOUSANDS.sub("", number).replace(",", ".")
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


def _word_numbers(text: str, sought: frozenset[str]) -> Iterable[re.Match[str]]:
    """In small letters. Nothing where none of the words sought is there."""
    lowered = text.translate(_LOWERED)
    return () if sought.isdisjoint(_LOWER.findall(lowered)) else _WORD_NUMBER.finditer(lowered)


def _spelled(found: re.Match[str]) -> int:
    if found["tens"]:
        return _SPELLED[found["tens"]] + _SPELLED[found["ones"]]
    word = found["word"]
    return next(table[word] for table in (_SPELLED, _ORDINALS, _AS_MUCH) if word in table)


def _roman(found: re.Match[str]) -> int:
    tens, ones = found["tens"], found["ones"]
    high = 40 if tens == "XL" else 50 * tens.count("L") + 10 * tens.count("X")
    low = {"IX": 9, "IV": 4}.get(ones, 5 * ones.count("V") + ones.count("I"))
    return high + low


def known(text: str) -> Known:
    """All that a text bears out: digits, spelled and Roman numbers, fractions, every word and every two that touch."""
    text = THOUSANDS.sub("", unicodedata.normalize("NFKC", text))
    numbers: dict[str, set[str]] = {}
    for found in QUANTITY.finditer(text):
        numbers.setdefault(canonical(found["number"]), set()).add(unit_of(found))
    for spelled in (*map(_spelled, _word_numbers(text, _SAID)), *map(_roman, _ROMAN.finditer(text))):
        numbers.setdefault(str(spelled), set()).add("")
    for found in _FRACTION.finditer(text) if "/" in text or "⁄" in text else ():
        if under := int(found["under"]):
            part = int(found["over"]) / under
            for value in (part, int(found["whole"] or 0) + part):
                for written in (f"{value:.4f}", f"{value:.2f}"):
                    numbers.setdefault(canonical(written), set()).add("")
    said = [_base(word) for word in _WORD.findall(plain(text))]
    joined = {one + other for one, other in pairwise(said)}
    return Known({number: frozenset(units) for number, units in numbers.items()}, frozenset(said) | joined)


def invented_numbers(text: str, row: Known) -> list[str]:
    """As written, those that the row does not hold, or holds with other units only.

    A decade is borne out by any of its years. 'one' and 'first' claim nothing, nor does 'the two'.
    """
    text = THOUSANDS.sub("", unicodedata.normalize("NFKC", text))
    odd = []
    for found in QUANTITY.finditer(text):
        number, unit = canonical(found["number"]), unit_of(found)
        units = row.numbers.get(number)
        if units is None:
            decade = number.endswith("0") and len(number) in (2, 4) and _DECADE.match(text, found.end())
            borne_out = bool(decade) and any(len(y) == 4 and y[-len(number) : -1] == number[:-1] for y in row.numbers)
        else:
            borne_out = not unit or bool({unit, ""} & units)
        if not borne_out:
            odd.append(found[0].strip())
    for found in _word_numbers(text, _CLAIMING):
        value = _spelled(found)
        told = found["word"] is None or found["word"] in _SPELLED
        if told and value > 1 and str(value) not in row.numbers and not _SPOKEN_OF.search(text, 0, found.start()):
            odd.append(text[found.start() : found.end()])
    return odd


def lost_quantities(source: str, text: str) -> tuple[list[str], int]:
    """Numbers with a unit of the source that the text does not hold, and how many the source has."""
    text_holds = known(text).numbers
    measures = {
        (canonical(found["number"]), unit_of(found)): found[0].strip()
        for found in QUANTITY.finditer(THOUSANDS.sub("", unicodedata.normalize("NFKC", source)))
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

    labels: attribute values of words that may be common, as the brand 'Brother'.
    """

    common: frozenset[str]
    names: frozenset[str]
    labels: frozenset[tuple[str, ...]]

    @staticmethod
    def of(prose: Iterable[str], titles: Iterable[str], labels: Iterable[str]) -> Vocabulary:
        """Counts each text once. At the start of a sentence of prose a capital letter says nothing."""
        small, large, told = Counter[str](), Counter[str](), set(labels)
        for text in prose:
            small.update({_base(found[0]) for found in _NAME.finditer(text) if found[0][0].islower()})
            large.update({_base(word) for word, _, start in capitalised(text) if not start})
        for text in (*titles, *told):
            large.update({_base(word) for word, _, _ in capitalised(text)})
        common = {word for word, count in small.items() if count >= NAME_SHARE * (count + large[word])}
        values = {tuple(map(_base, words(label))) for label in told if label[:1].isupper()}
        return Vocabulary(frozenset(common), frozenset(large.keys() - common - OPENERS), frozenset(values))


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
    found = _ROMAN.fullmatch(word)
    return found is not None and str(_roman(found)) in row.numbers
