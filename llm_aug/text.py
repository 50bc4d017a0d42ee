"""Plain text: sentences, words, one line, and the tokens that only a chat format should ever hold."""

from __future__ import annotations

import re
import unicodedata

CHAT_TOKENS = re.compile(
    r"<\|[\w ]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>"
    r"|^#{2,}\s*(?:Instruction|Response|System|User|Assistant)\b",
    re.IGNORECASE | re.MULTILINE,
)
_END = re.compile(r"(?<![.!?…。！？])[.!?…。！？]++[\"'”’»)\]]*+(?=\s|$)")  # possessive: linear on rows of dots
_CJK = "\u3040-\u30ff\u3400-\u9fff"  # written without spaces: each character counts as a word
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+(?:['’][^\W{_CJK}]+)?")


def one_line(text: str) -> str:
    """Without control characters and lone surrogates, every run of spaces and line ends a single space."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(c if c.isspace() or unicodedata.category(c) != "Cc" else " " for c in text).split())


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
    return sentence.rstrip("\"'”’»)]").endswith((".", "!", "?", "…", "。", "！", "？"))


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def normalised(text: str) -> str:
    """NFKC, casefold, punctuation and spacing reduced to single spaces: equal for texts that read the same."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


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
