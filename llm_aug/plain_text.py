"""Catalogue text as people wrote it -> one line of plain Unicode text: "<b>Tom</b> &amp; Jerry\\n" -> "Tom & Jerry"."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass

MAX_CHARS = 20_000
_RAW_CHARS = 10 * MAX_CHARS  # more than this is never looked at: a 10 MB description costs no more than a long one
_UNSTORABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffd-\uffff]")
_HIDDEN = re.compile(r"<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL | re.IGNORECASE)
_INLINE = "a abbr b big cite code del em font i ins mark q s small span strike strong sub sup tt u"
_BLOCK = (
    "article aside blockquote body br caption center col colgroup dd div dl dt figcaption figure footer form h1 h2 h3 "
    "h4 h5 h6 head header hr html iframe img input label li link main meta nav ol option p pre script section select "
    "style table tbody td tfoot th thead title tr ul video wbr"
)
_ATTRIBUTE = r"""\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+)"""
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def _tag(names: str) -> re.Pattern[str]:
    """Known names and name="value" attributes only: "if a <b and c> d" is no tag."""
    return re.compile(rf"</?(?:{names.replace(' ', '|')})(?:{_ATTRIBUTE})*\s*/?>", re.IGNORECASE)


_INLINE_TAG, _BLOCK_TAG = _tag(_INLINE), _tag(_BLOCK)


@dataclass(frozen=True)
class Repaired:
    """What was done to a text; white space and normal form are not worth a mention."""

    text: str
    html: bool = False
    characters: bool = False
    cut: bool = False


def plain(text: str, keep_html: bool = False) -> Repaired:
    """NFC, one line, no control characters, no tags or entities (unless kept), at most MAX_CHARS characters."""
    whole = text[:_RAW_CHARS]
    storable = _UNSTORABLE.sub("", whole)
    unmarked = storable if keep_html else _without_html(storable)
    line = " ".join(unicodedata.normalize("NFC", unmarked).split())
    return Repaired(
        text=line[:MAX_CHARS].rstrip(),
        html=unmarked != storable,
        characters=storable != whole,
        cut=len(line) > MAX_CHARS or len(text) > _RAW_CHARS,
    )


def _without_html(text: str) -> str:
    """Several rounds, since shops escape text that was escaped before: "&amp;quot;", "&lt;br&gt;"."""
    for _ in range(4):
        if "<" not in text and "&" not in text:
            break
        before = text
        text = _BLOCK_TAG.sub(" ", _INLINE_TAG.sub("", _HIDDEN.sub(" ", text)))
        text = _UNSTORABLE.sub("", _ENTITY.sub(lambda entity: html.unescape(entity[0]), text))
        if text == before:
            break
    return text
