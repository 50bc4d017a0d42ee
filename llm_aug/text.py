"""Plain text: sentences, words, one line, and the tokens that only a chat format should ever hold."""

from __future__ import annotations

import re
import unicodedata

CHAT_TOKENS = re.compile(
    r"<\|[\w ]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>"
    r"|^#{2,}\s*(?:Instruction|Response|System|User|Assistant)\b",
    re.IGNORECASE | re.MULTILINE,
)
_CLOSING = "]\"'”’“»«›」』）】)"  # for a set, hence ] first; German quotations end with “ or «
# Possessive: linear on rows of dots. Chinese puts no space after a full stop.
_END = re.compile(rf"(?<![.!?…。！？])(?:[.!?…]++[{_CLOSING}]*+(?=\s|$)|[.!?…]*+[。！？][.!?…。！？]*+[{_CLOSING}]*+)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # all of Unicode's category Cc
CJK = "\u3040-\u30ff\u3400-\u9fff"  # written without spaces: each character counts as a word
WORD = re.compile(rf"[{CJK}]|[^\W{CJK}]+(?:['’][^\W{CJK}]+)?")
_ASCII_WORD = re.compile(r"\w+(?:'\w+)?", re.ASCII)
# What str.translate makes of a text in ASCII: its runs of word characters, in small letters, apart by spaces.
ASCII_RUNS = {code: chr(code).lower() if chr(code).isalnum() or chr(code) == "_" else " " for code in range(128)}


def is_encodable(text: str) -> bool:
    """Whether it has no lone surrogate, which no file and no tokenizer takes."""
    return encodable(text) == text


def encodable(text: str) -> str:
    """A question mark for each lone surrogate."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def one_line(text: str) -> str:
    """Without control characters and lone surrogates, every run of spaces and line ends a single space."""
    return " ".join(_CONTROL.sub(" ", encodable(text)).split())


def sentences(text: str) -> list[str]:
    """Each with the marks that end it; a mark that stands alone belongs to the sentence after it."""
    found, start = [], 0
    for end in _END.finditer(text):
        part = text[start : end.end()].strip()
        if len(part) > 1:
            found.append(part)
            start = end.end()
    rest = text[start:].strip()
    return [*found, rest] if rest else found


def is_whole(sentence: str) -> bool:
    """Whether it ends the way a sentence ends."""
    return sentence.rstrip(_CLOSING).endswith((".", "!", "?", "…", "。", "！", "？"))


def words(text: str) -> list[str]:
    return WORD.findall(text)


def normalised(text: str) -> str:
    """NFKC, casefold, punctuation and spacing reduced to single spaces: equal for texts that read the same."""
    if not text.isascii():
        return " ".join(WORD.findall(unicodedata.normalize("NFKC", text).casefold().replace("’", "'")))
    if "'" in text:
        return " ".join(_ASCII_WORD.findall(text.lower()))
    return " ".join(text.translate(ASCII_RUNS).split())  # a tenth of the time of a search for words


def capped(text: str, limit: int) -> str:
    """At most `limit` words, whole sentences where the first one fits."""
    kept: list[str] = []
    count = 0
    for sentence in sentences(text):
        count += len(sentence.split())
        if count > limit:
            break
        kept.append(sentence)
    return " ".join(kept) if kept else " ".join(text.split()[:limit])


_UNITS = {
    "%": "percent",
    "mm": "millimet(?:er|re)s?|毫米",
    "cm": "centimet(?:er|re)s?|厘米",
    "kg": "kilograms?|kilos?|公斤|千克",
    "oz": "ounces?",
    "lb": "lbs|pounds?",
    "ml": "millilit(?:er|re)s?|毫升",
    "liter": "lit(?:er|re)s?|l|升",
    "gallon": "gallons?|gal",
    "inch": 'inches|["”]|′′|英寸',  # NFKC makes two primes of the double one
    "foot": "feet|ft",
    "yard": "yards|yds?",
    "meter": "met(?:er|re)s?|(?-i:m)|米",  # 3M makes tape
    "km": "kilomet(?:er|re)s?|公里|千米",
    "mile": "miles",
    "gram": "grams?|g|克(?!拉)",
    "gb": "gigabytes?",
    "mb": "megabytes?",
    "tb": "terabytes?",
    "dpi": "dots per inch",
    "ppi": "pixels per inch",
    "ppm": "pages per minute",
    "second": "seconds|secs?|秒",
    "minute": "minutes|min|mins|分钟",
    "hour": "hours|hrs?|小时",
    "day": "days|天",
    "week": "weeks",
    "month": "months",
    "year": "years",
    "watt": "watts?|w",
    "volt": "volts?|v",
}
_NAMES_OF_UNITS = tuple(_UNITS)
QUANTITY = re.compile(
    r"(?P<number>\d\d*(?:[.,]\d+)*)(?:[\s-]?(?:"  # not \d+: re looks for a set at the start, not for a repeat
    + "|".join(f"(?P<u{place}>{re.escape(unit)}|{others})" for place, (unit, others) in enumerate(_UNITS.items()))
    + rf")(?!(?<![\"”])[^\W{CJK}]))?",  # 8"W
    re.IGNORECASE,
)
_THOUSANDS = re.compile(r",(?<=\d,)(?=\d{3}(?!\d))")
_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_QUOTED = re.compile(r"(?<!\w)[\"“](?=\w)([^\"“”\n]{0,80}\d)[\"”]")  # no inches: "Apollo 13"
BLANKS = frozenset({"", "unknown", "none", "null", "nan", "n a", "not available", "no genres listed"})


def unit_of(found: re.Match[str]) -> str:
    """Of a match of QUANTITY: its unit by one name ('inches' is 'inch'), or ''."""
    return "" if found.lastgroup in (None, "number") else _NAMES_OF_UNITS[int(str(found.lastgroup)[1:])]


def measurable(text: str) -> str:
    """As QUANTITY reads it: '1,000' as '1000', '8½' as '8 1⁄2', and no quotation mark that is taken for inches."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _VULGAR.sub(" ", text))
    if '"' in text or "”" in text:
        text = _QUOTED.sub(r" \1 ", text)
    return _THOUSANDS.sub("", text)


def quantities(text: str) -> set[tuple[str, str]]:
    """Numbers with their units: '1,000 sheets, 8-Inch' -> {('1000', ''), ('8', 'inch')}; a unit is known or ''."""
    return {(one["number"], unit_of(one)) for one in QUANTITY.finditer(measurable(text))}


def names(text: str) -> set[str]:
    """Casefolded words that begin with a capital letter inside a sentence; at its start every word does."""
    return {
        word.casefold().removesuffix("'s").removesuffix("’s")
        for sentence in sentences(text)
        for word in words(sentence)[1:]
        if len(word) > 1 and word[0].isupper()
    }


def is_blank(value: str) -> bool:
    """Whether a catalogue says nothing by it: '', 'N/A', 'unknown', '(no genres listed)'."""
    return normalised(value) in BLANKS
