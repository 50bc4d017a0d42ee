"""Personal data in a text: mail, street and IP addresses, telephone, card and account numbers, handles, URLs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from ipaddress import ip_address
from typing import Any

from llm_aug.errors import Unavailable
from llm_aug.text import CJK

PRESIDIO = (
    "CREDIT_CARD", "CRYPTO", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "MEDICAL_LICENSE", "PERSON", "PHONE_NUMBER",
    "US_BANK_NUMBER", "US_DRIVER_LICENSE", "US_PASSPORT", "US_SSN",
)  # fmt: skip
PRESIDIO_SCORE = 0.5
_STREET = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Way|Place|Pl|Square|Sq|Terrace|Highway|Hwy"
)
_YEAR = r"(?<=1)[5-9]\d\d\b|(?<=2)0\d\d\b"  # a number's digits after its first one
_THE = r"(?<!\b[Tt]he \d)(?<!\b[Ii]n \d)(?<!\bof \d)"
_THING = r"(?:[GMTK]B|Inch|Foot|Ft|Pack|Piece|Hard|Flash|Thumb|Way)\b"  # a drive, a square or a sign, and no street
_TITLED = r"[^\W\d_a-z]"
_APART = rf"(?!-)(?![^\W{CJK}])"  # no more letters of an alphabet; Chinese has no spaces


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others: every second one from the right doubled, digit sums added, mod 10."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def _is_card(said: str) -> bool:
    """By length, first digits of the large issuers (4, 51-55, 22-27, 34, 37, 6) and the check digit."""
    digits = re.sub(r"\D", "", said)
    issuer = re.match(r"4|5[1-5]|2[2-7]|3[47]|6", digits)
    return len(digits) in (13, 15, 16, 19) and issuer is not None and luhn(digits)


def _is_iban(said: str) -> bool:
    """ISO 13616: with the first four characters moved to the end and A = 10, ..., Z = 35, it is 1 modulo 97."""
    account = re.sub(r"\s", "", said).upper()
    return 15 <= len(account) <= 34 and int("".join(str(int(c, 36)) for c in account[4:] + account[:4])) % 97 == 1


def _is_ip(said: str) -> bool:
    try:
        return not ip_address(said).is_unspecified
    except ValueError:
        return False


def _is_phone(said: str) -> bool:
    """E.164 has 15 digits at most; with the prefix of a country there are nine at least."""
    least = 9 if said.startswith(("+", "00")) else 7
    return least <= len(re.sub(r"\D", "", said).removeprefix("00")) <= 15


@dataclass(frozen=True)
class Rule:
    """The group `said`, or all of a match, is personal where `holds` says so.

    hints: a text without one of these, casefolded, is not searched; none: any is.
    """

    pattern: re.Pattern[str]
    holds: Callable[[str], bool]
    hints: tuple[str, ...]

    def found(self, text: str, small: str) -> Iterator[str]:
        """small: the text, casefolded."""
        if self.hints and not any(hint in small for hint in self.hints):
            return
        for match in self.pattern.finditer(text):
            said = match["said"] if "said" in self.pattern.groupindex else match[0]
            if self.holds(said):
                yield said.strip()


def _rule(*hints: str, pattern: str, holds: Callable[[str], bool] = lambda said: True, flags: int = 0) -> Rule:
    return Rule(re.compile(pattern, flags), holds, hints)


# A pattern that begins with a set and then looks behind is tried at members of the set alone, not everywhere.
RULES: Mapping[str, Sequence[Rule]] = {
    "mail": (
        _rule(pattern=r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?!\w)"),
        _rule(
            pattern=r"\b[\w.+-]{1,64}\s?[\[(]\s?at\s?[\])]\s?[\w-]{1,63}\s?(?:\.|[\[(]\s?dot\s?[\])])\s?[a-z]{2,24}\b",
            flags=re.I,
        ),
    ),
    "card": (_rule(pattern=rf"\d(?<![.-]\d)(?<![^\W{CJK}]\d)(?:[ -]?\d){{12,18}}{_APART}", holds=_is_card),),
    "iban": (_rule(pattern=r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", holds=_is_iban),),
    "phone": (
        _rule(
            pattern=r"(?<![\w+])(?:\+|00)[1-9]\d{0,2}+(?:[\s./-]{0,2}+\(?+\d{1,5}+\)?+){2,6}+(?!\w)",
            holds=_is_phone,
        ),
        _rule(pattern=r"(?<![\w.-])(?:1[\s.-])?(?:\(\d{3}\)[\s.-]?|\d{3}[\s.-])\d{3}[\s.-]\d{4}(?![\w-])"),
        _rule(pattern=r"(?<![\w.-])0\d(?:[\s.-]\d{2}){4}(?![\w-])"),
        _rule(pattern=r"(?<![\w.-])\(?0\d{2,4}\)?[\s/-]\d{3,4}[\s-]?\d{3,4}(?![\w-])"),
        _rule(pattern=r"[679](?<![\w.,-].)(?<!\d .)(?:\d\d \d{3} \d{3}|\d \d{3} \d\d \d\d)(?![\w-]| \d)"),
        _rule(
            pattern=rf"(?:\b(?:tel(?:ephone|[eé]fono|efon)?|t[eé]l[eé]phone|phone|mobile|m[oó]vil|handy|portable|cell|call"
            r"|fax|whatsapp)\b|电话|電話|手机|手機|致电|拨打|热线)[^\w\n+(]{0,3}"
            r"(?:(?:me|us|at|on|no|number|is|es|ist|est)\b[^\w\n+(]{0,3}){0,2}"
            rf"(?P<said>\+?\(?\d[\d ().-]{{5,18}}\d)(?![^\W{CJK}])",
            holds=_is_phone,
            flags=re.IGNORECASE,
        ),
    ),
    "social_security": (_rule(pattern=r"\d(?<![\w-]\d)\d\d-\d{2}-\d{4}(?![\w-])"),),
    "ip": (
        _rule(
            pattern=r"\d(?<![\w.:-]\d)(?<!version \d)(?<!release \d)\d{0,2}(?:\.\d{1,3}){3}(?![\w:-]|\.\d)",
            holds=_is_ip,
        ),
        _rule(":", pattern=r"(?<![\w:.])(?=[0-9A-Fa-f]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]{6,39}(?![\w:])", holds=_is_ip),
    ),
    "address": (
        _rule(
            pattern=rf"\d(?<![\w.-]\d)(?:{_THE}|(?!{_YEAR}))\d{{0,4}}[A-Za-z]?,? "
            rf"(?:(?!{_THING})(?:[NSEW]\.?|{_TITLED}[\w'’.]*) ){{1,3}}(?:{_STREET})\b(?! (?:[Cc]ard|[Mm]at|[Ss]etting))"
        ),
        _rule(
            *("strasse", "str.", "gasse", "allee", "weg", "platz"),
            pattern=rf"\b{_TITLED}[\w-]{{0,40}}(?:stra(?:ß|ss)e|str\.|gasse|allee|weg"
            r"|(?<!rbeits)(?<!peicher)(?<!itz)(?<!tell)(?<!teck)(?<!ark)(?<!chlaf)(?<!ager)platz)\s\d{1,4}\s?[a-z]?\b",
        ),
        _rule(
            *("rue", "avenue", "boulevard", "place", "chemin", "impasse"),
            pattern=r"\b\d{1,4},? (?:bis )?(?:(?:rue|avenue|boulevard|chemin|impasse) (?:d[eu]s? |de la |de l['’])?\w+"
            rf"|place (?:d[eu]s? \w|de la |de l['’]|(?-i:(?<=place ){_TITLED})\w))\w*",
            flags=re.I,
        ),
        _rule(
            *("calle", "c/", "avenida", "avda", "plaza", "paseo", "carrer"),
            pattern=r"\b(?:calle|c/|avenida|avda\.?|plaza|paseo|carrer) ?(?:de(?:l| la| los| las)? )?"
            rf"(?-i:{_TITLED})\w+(?: \w+){{0,3}},? (?:n\.?[º°] ?)?\d{{1,4}}\b",
            flags=re.I,
        ),
        _rule("号", "號", pattern=rf"[{CJK}]{{2,12}}(?:路|街|道|巷|弄)\d{{1,5}}[号號]"),
        _rule("box ", pattern=r"\bP\.? ?O\.? Box \d+", flags=re.IGNORECASE),
        _rule(pattern=r", (?P<said>[A-Z]{2} \d{5}(?:-\d{4})?)\b"),
    ),
    "handle": (_rule("@", pattern=r"(?<![\w@./])@[A-Za-z_][\w.]{2,30}\b"),),
    "url": (_rule("://", "www.", pattern=r"(?:\bhttps?://|\bwww\.)[^\s<>\"')\]]{3,}", flags=re.IGNORECASE),),
}


_DIGIT, _DIGITS = re.compile(r"\d"), re.compile(r"\d(?:\D{0,2}\d){6}")
_LONG = ("phone", "card", "social_security")  # kinds that have such _DIGITS
_NUMBERED = (*_LONG, "iban", "address")
_HINTS = {  # what a text without is not searched for
    "mail": (re.compile("@"), re.compile(r"[\[(]\s?at\s?[\])]", re.IGNORECASE)),
    "ip": (re.compile(r"\d\.\d"), re.compile(r":[\da-f]*:", re.IGNORECASE)),
    "card": (re.compile(r"\d(?:[\D]?\d){12}"),),
    "iban": (re.compile(r"[A-Z][A-Z]\d\d"),),
}


def found(text: str, kinds: Sequence[str]) -> list[tuple[str, str]]:
    """(kind, string) for each piece of personal data of these kinds, in the order of RULES."""
    small = text.casefold()
    absent = () if _DIGITS.search(text) else _LONG if _DIGIT.search(text) else _NUMBERED
    pieces = []
    for kind in kinds:
        hints = _HINTS.get(kind)
        if kind not in absent and (hints is None or any(hint.search(text) for hint in hints)):
            pieces += [(kind, said) for rule in RULES[kind] for said in rule.found(text, small)]
    return pieces


class Presidio:
    """Microsoft Presidio's analyzer (extra `privacy`), in English, loaded when made.

    Raises Unavailable where the package or its language model is not there.
    """

    def __init__(self) -> None:
        try:
            self._engine: Any = import_module("presidio_analyzer").AnalyzerEngine()
        except (ImportError, OSError, SystemExit) as error:
            raise Unavailable(
                "filter 'privacy' with presidio: true needs presidio-analyzer and its spaCy model: "
                f"pip install 'llm-aug[privacy]' && python -m spacy download en_core_web_lg ({error})"
            ) from error

    def found(self, text: str) -> list[tuple[str, str]]:
        """(kind, string), by place."""
        results = self._engine.analyze(
            text=text, language="en", entities=list(PRESIDIO), score_threshold=PRESIDIO_SCORE
        )
        placed = sorted((result.start, result.end, result.entity_type) for result in results)
        return [(kind.casefold(), text[start:end]) for start, end, kind in placed]
