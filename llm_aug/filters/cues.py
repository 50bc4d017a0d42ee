"""Words that only a model says, of a text that it was asked for or would not write, and what is left of templates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_CANNOT = r"(?:can(?:no|['’])t|could(?: not|n['’]t)|wo(?:n['’]t)|will not|(?:am|['’]m) (?:unable|not able) to)"
_WRITE = r"(?:assist|help|provide|fulfil|generate|write|create|rewrite|comply|answer|complete|produce)"
_ORDERED = r"(?:previous|above|prior|earlier) (?:instructions?|prompts?|messages?)"
_THING = r"(?:item|product|film|movie|book|text|description|passage|paragraph|review)"
# A sentence: after a word, a mark or the end of a line, and a space. From the word on, so that each run of marks and
# spaces is read once.
_OPENS = r"(?:\A|(?<=\w)(?=[^\w.!?:\n]*+[.!?:\n])(?=[^\w\s]*+\s))\W*+"
Cue = tuple[tuple[str, ...], re.Pattern[str]]


def _cue(*hints: str, pattern: str) -> Cue:
    """hints: a text without one of these, casefolded, is not searched: a tenth of the time of the pattern."""
    return hints, re.compile(pattern, re.IGNORECASE | re.DOTALL)


REFUSAL = (
    _cue("as a", pattern=r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b"),
    _cue("sorry", "afraid", pattern=rf"\bI(?:['’]m| am) (?:sorry|afraid)\b.{{0,60}}\b(?:{_CANNOT}|{_WRITE})\b"),
    _cue(
        "sorry", "apolog",
        pattern=r"\A\W*(?:(?:I|we)(?:['’]m| am|['’]re| are)? )?(?:very |so )?(?:sorry|apolog\w+)\b"
        r"[^.\n]{0,30}\b(?:but|I)\b",
    ),
    _cue(
        "cannot", "can't", "can’t", "could not", "couldn", "won't", "won’t", "will not", "unable", "not able",
        pattern=rf"\bI ?{_CANNOT} (?:\w+ly )?{_WRITE}\b",
    ),
    _cue(
        "do not have", "don't have", "don’t have",
        pattern=r"\bI (?:do not|don['’]t) have (?:access|enough|any|the) (?:\w+ )?"
        r"(?:information|context|details|data)\b",
    ),
    _cue(
        "against", "violate",
        pattern=r"\b(?:against|violates?) (?:my|our|the) (?:\w+ )?(?:guidelines|policy|policies|programming)\b",
    ),
    _cue(
        "please provide", "please share", "please give",
        pattern=r"\bplease (?:provide|share|give) (?:me )?(?:with )?(?:the|more|an?) "
        r"(?:item|description|text|details)\b",
    ),
    _cue(
        "tut mir leid", "als ki", "sprachmodell", "ich kann", "ich bin nicht in der lage",
        pattern=r"\btut mir leid,? (?:aber )?ich\b|\bals (?:KI\b|(?:ein )?(?:großes )?Sprachmodell)"
        r"|\bich (?:kann|bin nicht in der Lage,)\b[^.\n]{0,50} (?:nicht|leider) (?:zu )?(?:erfüllen|helfen|schreiben)",
    ),
    _cue(
        "désolé", "en tant qu", "je ne peux", "je ne suis pas en mesure",
        pattern=r"\bdésolée?,? (?:mais )?je\b|\ben tant qu(?:e modèle|['’](?:IA|intelligence artificielle))"
        r"|\bje ne (?:peux|suis) pas (?:en mesure d\W?e? ?)?(?:vous )?(?:aider|fournir|écrire|rédiger|générer)",
    ),
    _cue(
        "lo siento", "modelo de lenguaje", "no puedo",
        pattern=r"\blo siento,? (?:pero )?no\b|\bcomo (?:un )?(?:modelo de lenguaje|inteligencia artificial)"
        r"|\bno puedo (?:ayudar|proporcionar|escribir|reescribir|generar|cumplir)",
    ),
    _cue(
        "作为", "抱歉", "对不起", "我无法", "我不能",
        pattern=r"作为(?:一[个款名])?(?:AI|人工智能|大?语言模型)"
        r"|(?:抱歉|对不起)[，,！!。 ]{0,2}(?:但)?我?(?:无法|不能|没办法)"
        r"|我(?:无法|不能)(?:提供|完成|改写|生成|撰写|回答|协助)",
    ),
)  # fmt: skip
SPEAKING = (
    _cue(
        "sure", "certainly", "of course", "okay",
        pattern=r"\A\W*(?:sure|certainly|of course|okay)[,!.]? (?:here|i\b|let)",
    ),
    _cue(
        "here's", "here’s", "here is", "here are",
        pattern=r"\bhere(?:['’]s| is| are) (?:an?|the|your|my) (?:\w+ )?"
        r"(?:re(?:writ|phras)\w+|paraphras\w+|description|version)\b",
    ),
    _cue(
        "instruction", "prompt", "message",
        pattern=rf"\b(?:ignore|disregard|forget) (?:all |any )?(?:of )?(?:the |your |my )?{_ORDERED}",
    ),
    _cue("system]", "user]", "assistant]", pattern=r"(?<!\w)\[/?(?:system|user|assistant)\]"),
    _cue("system", "assistant", pattern=rf"{_OPENS}(?:system|assistant)\s*:\s"),
    _cue(
        "rewrite ", "rephrase ", "reword ", "paraphrase ", "summari", "condense ", "shorten ", "expand ", "describe ",
        pattern=rf"{_OPENS}(?:please )?"
        r"(?:re(?:write|phrase|word)|paraphrase|summari[sz]e|condense|shorten|expand|describe) "
        rf"(?:the|this|each) (?:\w+ )?{_THING}\b",
    ),
    _cue(
        "you are a",
        pattern=r"\byou are an? (?:\w+[ ,]+){0,3}(?:assistant|chat ?bot|copywriter|(?:AI|language model)\b)",
    ),
    _cue(
        "answer", "response", "output", "rewrite", "paraphrase",
        pattern=r"\b(?:your|my) (?:answer|response|output|rewrite|paraphrase)\s*:",
    ),
    _cue(
        "kept", "rewrote", "rewritten", "rephrased", "reworded", "paraphrased", "preserved",
        pattern=r"\bI(?:['’]ve| have)? (?:kept|re(?:wrote|written|phrased|worded)|paraphrased|preserved) "
        rf"(?:all |only |every |most )?(?:of )?(?:the |its )?(?:\w+ )?(?:facts?|details?|meaning|wording|{_THING})\b",
    ),
    _cue(
        "hier ist", "voici", "aquí", "以下是",
        pattern=r"\b(?:hier ist|voici|aquí (?:tienes|está))\b[^.\n:]{0,40}\b(?:umgeschrieben|überarbeitet|réécrit"
        r"|reformul|reescrit)|以下是[^。\n]{0,8}(?:改写|重写)",
    ),
    _cue("requested", "instructed", pattern=r"\b(?:as|like) (?:you )?(?:requested|instructed)\W*\Z"),
)  # fmt: skip
_TAGS = (
    "script|style|iframe|object|embed|form|input|svg|img|link|meta|html|head|body|title|div|span|table|tbody|t[drh]"
    "|[uo]l|li|h[1-6]|p|br|hr|a|b|i|u|em|strong|font|item|description|text|facts"
)
MARKUP = (
    _cue(
        "<", "&", "{", "}", "```", "javascript:",
        pattern=rf"</?(?:{_TAGS})(?:[\s/][^<>]{{0,500}})?/?>|<script\b|javascript:|<!--"
        r"|&(?:lt|gt|nbsp|quot|#x?\w{1,6});|\{\{|\}\}|\$\{|\{%|%\}|```"
        r"|\{\s*[\"'][\w -]{1,40}[\"']\s*:|[\"']\s*\}\s*(?:\]|,|\Z)",
    ),
)  # fmt: skip


def matches(cues: Sequence[Cue], text: str, small: str) -> Iterator[str]:
    """What the cues find, by `plain`. small: the text, casefolded."""
    for hints, pattern in cues:
        if any(hint in small for hint in hints):
            yield from (plain(found[0]) for found in pattern.finditer(text))


def plain(said: str) -> str:
    return " ".join(said.replace("’", "'").casefold().split())
