"""Numbers in words and Roman ones: "two hundred and five", "the fourth", "a dozen", "Rocky IV" are 205, 4, 12, 4."""

from __future__ import annotations

import re
from collections.abc import Iterable
from string import ascii_lowercase, ascii_uppercase

_DIGITS = "one two three four five six seven eight nine"
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NTH = "first second third fourth fifth sixth seventh eighth ninth tenth"
_SPELLED = {word: number for number, word in enumerate(f"{_DIGITS} {_TEENS}".split(), 1)}
_SPELLED |= {word: 10 * number for number, word in enumerate(_TENS.split(), 2)}
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_ORDINALS = {word: number for number, word in enumerate(_NTH.split(), 1)}
_AS_MUCH = {"dozen": 12, "pair": 2, "couple": 2, "double": 2, "dual": 2, "twin": 2, "twins": 2, "both": 2, "duo": 2}
_AS_MUCH |= {"triple": 3, "trio": 3, "single": 1, "half": 2, "quarter": 4, "twice": 2, "decade": 10, "century": 100}
_AS_MUCH |= {"million": 10**6, "billion": 10**9}  # alone they are a way to say many
_OTHERS = _ORDINALS | _AS_MUCH
_TO_99 = rf"(?:(?:{_TENS.replace(' ', '|')})(?:[- ](?:{_DIGITS.replace(' ', '|')}))?|{'|'.join([*_SPELLED][:19])})"
_TO_999 = rf"(?:(?:{_TO_99}[- ])?hundred(?:[- ](?:and[- ])?{_TO_99})?|{_TO_99})"
_WORD_NUMBER = re.compile(  # of text in small letters: re.IGNORECASE would read a dotless i as an i
    rf"\b(?P<cardinal>{_TO_999}(?:[- ](?:thousand|million|billion)\b(?:[- ](?:and[- ])?{_TO_999})?)*|thousand)\b"
    rf"|\b(?P<word>{'|'.join(_OTHERS)})\b"
)
_LOWERED = str.maketrans(ascii_uppercase, ascii_lowercase)
ROMAN = re.compile(r"\b(?=[IVXL])(?P<tens>XL|L?X{0,3})(?P<ones>IX|IV|V?I{0,3})\b")
# Words of which a text with a number has one; and of those that claim it, which "the third" and "a couple" do not.
SAID = frozenset((*_SPELLED, *SCALES, *_OTHERS))
CLAIMING = frozenset((_SPELLED | SCALES).keys() - {"one"})
_LOWER = re.compile(r"[a-z]+")


def word_numbers(text: str, sought: frozenset[str]) -> Iterable[re.Match[str]]:
    """In small letters. Nothing where none of the words sought is there."""
    lowered = text.translate(_LOWERED)
    return () if sought.isdisjoint(_LOWER.findall(lowered)) else _WORD_NUMBER.finditer(lowered)


def spelled(found: re.Match[str]) -> int:
    """Of a match of `word_numbers`, which is a `cardinal` or another `word`."""
    if word := found["word"]:
        return _OTHERS[word]
    whole = part = 0
    for word in re.split("[- ]", found["cardinal"]):
        if word == "hundred":
            part = 100 * (part or 1)
        elif word in SCALES:
            whole, part = whole + SCALES[word] * (part or 1), 0
        else:
            part += _SPELLED.get(word, 0)
    return whole + part


def roman(found: re.Match[str]) -> int:
    """Of a match of ROMAN, up to 89."""
    tens, ones = found["tens"], found["ones"]
    high = 40 if tens == "XL" else 50 * tens.count("L") + 10 * tens.count("X")
    low = {"IX": 9, "IV": 4}.get(ones, 5 * ones.count("V") + ones.count("I"))
    return high + low
