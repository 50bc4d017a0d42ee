"""Texts that could stand in a catalogue: of its usual length, not looping, without words meant for a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from llm_aug.data import Sample, Verdict
from llm_aug.filters.reference import FEWEST, Reference, Threshold, threshold
from llm_aug.filters.schema import TEXT_KINDS
from llm_aug.prompt import load_template, prompts_folder, styles
from llm_aug.text import CHAT_TOKENS, is_whole, normalised, sentences

NGRAM = 3  # words, of which the share that comes again is measured
SHORTEST = 2  # words of a review, a profile or a search query: only descriptions are measured on the catalogue's
TIMES, LONGEST_LOOP = 5, 40  # how often a loop comes in a row; words of one round
WHOLE = 0.95  # share of real descriptions that end whole, from which a sample has to
_CANNOT = r"(?:can(?:no|['’])t|could(?: not|n['’]t)|wo(?:n['’]t)|will not|(?:am|['’]m) (?:unable|not able) to)"
_WRITE = r"(?:assist|help|provide|fulfil|generate|write|create|rewrite|comply|answer|complete|produce)"
_REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    rf"|\bI(?:['’]m| am) (?:sorry|afraid)\b.{{0,60}}\b(?:{_CANNOT}|{_WRITE})\b"
    r"|\A\W*(?:(?:I|we)(?:['’]m| am|['’]re| are)? )?(?:very |so )?(?:sorry|apolog\w+)\b[^.\n]{0,30}\b(?:but|I)\b"
    rf"|\bI ?{_CANNOT} (?:\w+ly )?{_WRITE}\b"
    r"|\bI (?:do not|don['’]t) have (?:access|enough|any|the) (?:\w+ )?(?:information|context|details|data)\b"
    r"|\b(?:against|violates?) (?:my|our|the) (?:\w+ )?(?:guidelines|policy|policies|programming)\b"
    r"|\bplease (?:provide|share|give) (?:me )?(?:with )?(?:the|more|an?) (?:item|description|text|details)\b",
    re.IGNORECASE | re.DOTALL,
)
_HINT = re.compile(r"\b(?:I|as an?|sorry|apolog\w+|against|violates?|please)\b", re.IGNORECASE)  # no refusal without
_ORDERED = r"(?:previous|above|prior|earlier) (?:instructions?|prompts?|messages?)"
_THING = r"(?:item|product|film|movie|book|text|description|passage|paragraph|review)"
_OPENS = r"(?:\A|(?<=[.!?:\n])\s+)\W*"  # a sentence
_SPEAKING = re.compile(
    r"\A\W*(?:sure|certainly|of course|okay)[,!.]? (?:here|i\b|let)"
    r"|\bhere(?:['’]s| is| are) (?:an?|the|your|my) (?:\w+ )?(?:re(?:writ|phras)\w+|paraphras\w+|description|version)\b"
    rf"|\b(?:ignore|disregard|forget) (?:all |any )?(?:of )?(?:the |your |my )?{_ORDERED}"
    r"|(?<!\w)\[/?(?:system|user|assistant)\]"
    rf"|{_OPENS}(?:system|assistant)\s*:\s"
    rf"|{_OPENS}(?:please )?(?:re(?:write|phrase|word)|paraphrase|summari[sz]e|condense|shorten|expand|describe) "
    rf"(?:the|this|each) (?:\w+ )?{_THING}\b"
    r"|\byou are an? (?:\w+[ ,]+){0,3}(?:assistant|chat ?bot|copywriter|(?:AI|language model)\b)"
    r"|\b(?:your|my) (?:answer|response|output|rewrite|paraphrase)\s*:"
    r"|\bI(?:['’]ve| have)? (?:kept|re(?:wrote|written|phrased|worded)|paraphrased|preserved) "
    rf"(?:all |only |every |most )?(?:of )?(?:the |its )?(?:\w+ )?(?:facts?|details?|meaning|wording|{_THING})\b"
    r"|\b(?:as|like) (?:you )?(?:requested|instructed)\W*\Z",
    re.IGNORECASE,
)
_TAGS = (
    "script|style|iframe|object|embed|form|input|svg|img|link|meta|html|head|body|title|div|span|table|tbody|t[drh]"
    "|[uo]l|li|h[1-6]|p|br|hr|a|b|i|u|em|strong|font|item|description|text|facts"
)
_MARKUP = re.compile(
    rf"</?(?:{_TAGS})(?:[\s/][^<>]{{0,500}})?/?>|<script\b|javascript:|<!--|&(?:lt|gt|nbsp|quot|#x?\w{{1,6}});"
    r"|\{\{|\}\}|\$\{|\{%|%\}|```|\{\s*[\"'][\w -]{1,40}[\"']\s*:|[\"']\s*\}\s*(?:\]|,|\Z)",
    re.IGNORECASE,
)
_RUN = re.compile(r"(\S)\1{9}", re.IGNORECASE)
# Without one of these, in small letters, there is nothing to search for: a tenth of the time of the patterns.
_SPEAKING_HINTS = (
    "here", "sure", "certainly", "of course", "okay", "instruction", "prompt", "message", "system", "assistant", "user",
    "rewrit", "rewrot", "rephras", "reword", "paraphras", "summari", "condense", "shorten", "expand", "describe",
    "you are", "answer", "response", "output", "kept", "preserved", "requested", "instructed",
)  # fmt: skip
_MARKUP_HINTS = ("<", "&", "{", "}", "%}", "```", "javascript:")


@dataclass(frozen=True)
class QualityConfig:
    """Words at least and at most, the share of word 3-grams that repeat an earlier one, and whether a description has
    to end whole; None measures them. Where descriptions need not end whole, one still has to whose own item's does;
    false asks it of none."""

    min_words: int | None = None
    max_words: int | None = None
    repetition: float | None = None
    whole: bool | None = None


@dataclass
class Quality:
    """Reasons: leaked_instruction, refusal, markup (tags, leftovers of templates and of JSON), too_short, too_long,
    truncated, repetition; score: words, or the repeating share.
    """

    reference: Reference
    config: QualityConfig
    Config: ClassVar = QualityConfig

    def applies(self, sample: Sample) -> bool:
        return sample.kind in TEXT_KINDS

    @cached_property
    def thresholds(self) -> dict[str, Threshold]:
        """Quantiles of the real descriptions, kept between bounds: a catalogue of stubs must not ask for stubs."""
        told = [text for text in self.reference.descriptions if text.strip()]
        if len(told) < FEWEST:
            low, high, loops, whole, of = 4.0, 400.0, 0.3, 0.0, f"default: only {len(told)} real descriptions"
        else:
            said = [self.reference.read(text).split() for text in told]
            counts = [len(one) for one in said]
            low = float(np.clip(np.floor(np.quantile(counts, 0.01)), 4, 10))
            high = float(np.clip(np.ceil(2 * np.quantile(counts, 0.99)), 100, 2000))
            loops = float(np.clip(np.quantile([repetition(one) for one in said], 0.999), 0.2, 0.5))
            whole = float(np.mean([is_whole(text.rstrip()) for text in told]))
            of = f"of {len(told)} real descriptions"
        return {
            "min_words": threshold(self.config.min_words, low, f"1% quantile {of}, kept in 4 to 10"),
            "max_words": threshold(self.config.max_words, high, f"twice the 99% quantile {of}, kept in 100 to 2000"),
            "repetition": threshold(self.config.repetition, loops, f"99.9% quantile {of}, kept in 0.2 to 0.5"),
            "whole": threshold(
                self.config.whole,
                whole >= WHOLE,
                f"{whole:.1%} {of} end whole; 1 from {WHOLE:.0%} on, else where the item's own does",
            ),
        }

    @cached_property
    def _instructions(self) -> set[str]:
        """The sentences of our own prompts, which a confused model repeats."""
        found: set[str] = set()
        for task in sorted(path.name for path in prompts_folder().iterdir() if path.is_dir()):
            for style in styles(task):
                said = (normalised(sentence) for sentence in sentences(load_template(task, style).system))
                found |= {sentence for sentence in said if len(sentence.split()) >= 4}
        return found

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        return [self._verdict(sample) for sample in samples]

    def _not_prose(self, text: str, read: str) -> str:
        small = text.casefold()
        if CHAT_TOKENS.search(text) or (any(hint in small for hint in _SPEAKING_HINTS) and _SPEAKING.search(text)):
            return "leaked_instruction"
        if any(sentence in read and f" {sentence} " in f" {read} " for sentence in self._instructions):
            return "leaked_instruction"
        if _HINT.search(text) and _REFUSAL.search(text):
            return "refusal"
        return "markup" if any(hint in small for hint in _MARKUP_HINTS) and _MARKUP.search(text) else ""

    def _has_to_end(self, sample: Sample) -> bool:
        if sample.kind != "description":
            return False
        row = self.reference.row.get(sample.subject)
        own = "" if row is None or self.config.whole is False else self.reference.descriptions[row].rstrip()
        return bool(self.thresholds["whole"].value) or is_whole(own)

    def _verdict(self, sample: Sample) -> Verdict:
        text, kind, limits = sample.text or "", sample.kind, self.thresholds
        read = self.reference.read(text)
        said = read.split()
        count = float(len(said))
        if reason := self._not_prose(text, read):
            return Verdict(False, reason)
        if count < (limits["min_words"].value if kind == "description" else SHORTEST):
            return Verdict(False, "too_short", count)
        if count > limits["max_words"].value:
            return Verdict(False, "too_long", count)
        loops = repetition(said)
        loops = 1.0 if (loops and is_looping(said)) or _RUN.search(text) else loops
        if loops > limits["repetition"].value:
            return Verdict(False, "repetition", loops)
        if not is_whole(text.rstrip()) and self._has_to_end(sample):
            return Verdict(False, "truncated")
        return Verdict(True, score=loops)


def repetition(said: Sequence[str]) -> float:
    """1 - distinct / all n-grams of words: 0 for ordinary prose, near 1 for a loop, 0 for fewer than n words."""
    count = len(said) - NGRAM + 1
    return 1 - len(set(zip(said, said[1:], said[2:], strict=False))) / count if count > 0 else 0.0


def is_looping(said: Sequence[str]) -> bool:
    """Whether 1 to LONGEST_LOOP words come TIMES times in a row, wherever and however long the rest is."""
    for size in range(1, min(LONGEST_LOOP, len(said) // TIMES) + 1):
        same = 0
        for word, later in zip(said, said[size:], strict=False):
            same = same + 1 if word == later else 0
            if same >= (TIMES - 1) * size:
                return True
    return False
