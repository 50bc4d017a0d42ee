"""Texts that could stand in a catalogue: of its usual length, not looping, without words meant for a model."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from llm_aug.data import Sample, Verdict, item_text
from llm_aug.filters.cues import MARKUP, REFUSAL, SPEAKING, Cue, matches, plain
from llm_aug.filters.reference import FEWEST, Reference, Threshold, threshold
from llm_aug.filters.schema import TEXT_KINDS
from llm_aug.prompt import load_template, prompts_folder, styles
from llm_aug.text import CHAT_TOKENS, is_whole, normalised, sentences

NGRAM = 3  # words, of which the share that comes again is measured
SHORTEST = 2  # words of a review, a profile or a search query: only descriptions are measured on the catalogue's
TIMES, LONGEST_LOOP = 5, 40  # how often a loop comes in a row; words of one round
WHOLE = 0.95  # share of real descriptions that end whole, from which a sample has to
_CHAT_HINTS = ("<", "[", "##")
_RUN = re.compile(r"(\S)\1{9}", re.IGNORECASE)


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
        counts, loop, ends = self._measured
        if len(counts) < FEWEST:
            low, high, loops, whole, of = 4.0, 400.0, 0.3, 0.0, f"default: only {len(counts)} real descriptions"
        else:
            low = float(np.clip(np.floor(np.quantile(counts, 0.01)), 4, 10))
            high = float(np.clip(np.ceil(2 * np.quantile(counts, 0.99)), 100, 2000))
            loops = float(np.clip(np.quantile(loop, 0.999), 0.2, 0.5))
            whole = float(np.mean(ends))
            of = f"of {len(counts)} real descriptions"
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

    @property
    def _measured(self) -> tuple[list[int], list[float], list[bool]]:
        """Of each real description its words, the share of them that repeats, and whether it ends whole."""
        counts, loops, ends = [], [], []
        for text in self.reference.descriptions:
            if text.strip():
                said = self.reference.read(text).split()
                counts.append(len(said))
                loops.append(repetition(said))
                ends.append(is_whole(text.rstrip()))
        return counts, loops, ends

    @cached_property
    def _instructions(self) -> dict[tuple[str, ...], list[str]]:
        """The sentences of our own prompts, which a confused model repeats; by their first NGRAM words."""
        found: set[str] = set()
        for task in sorted(path.name for path in prompts_folder().iterdir() if path.is_dir()):
            for style in styles(task):
                said = (normalised(sentence) for sentence in sentences(load_template(task, style).system))
                found |= {sentence for sentence in said if len(sentence.split()) >= 4}
        opened: dict[tuple[str, ...], list[str]] = {}
        for sentence in sorted(found):
            opened.setdefault(tuple(sentence.split()[:NGRAM]), []).append(sentence)
        return opened

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        return [self._verdict(sample) for sample in samples]

    def _not_prose(self, sample: Sample, read: str, grams: Set[tuple[str, ...]]) -> str:
        text = sample.text or ""
        small = text.casefold()
        if any(hint in text for hint in _CHAT_HINTS) and CHAT_TOKENS.search(text):
            return "leaked_instruction"
        if self._says(SPEAKING, sample, small):
            return "leaked_instruction"
        told = (sentence for gram in self._instructions.keys() & grams for sentence in self._instructions[gram])
        if any(f" {sentence} " in f" {read} " for sentence in told):
            return "leaked_instruction"
        if self._says(REFUSAL, sample, small):
            return "refusal"
        return "markup" if self._says(MARKUP, sample, small) else ""

    def _says(self, cues: Sequence[Cue], sample: Sample, small: str) -> bool:
        """Whether the text has a cue in words that its item's row does not have: a song is "I Can't Help Myself"."""
        found = set(matches(cues, sample.text or "", small))
        own = self._own(sample.subject) if found else ""
        return any(said not in own for said in found)

    def _own(self, subject: str) -> str:
        row = self.reference.row.get(subject)
        return "" if row is None else plain(item_text(self.reference.item(row), self.reference.training.attributes))

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
        count, grams = float(len(said)), _grams(said)
        if count > limits["max_words"].value:
            return Verdict(False, "too_long", count)
        if reason := self._not_prose(sample, read, grams):
            return Verdict(False, reason)
        if count < (limits["min_words"].value if kind == "description" else SHORTEST):
            return Verdict(False, "too_short", count)
        again = max(0, len(said) - NGRAM + 1) - len(grams)
        loops = 1.0 if is_looping(said, again) or _RUN.search(text) else _repeating(said, grams)
        if loops > limits["repetition"].value:
            return Verdict(False, "repetition", loops)
        if not is_whole(text.rstrip()) and self._has_to_end(sample):
            return Verdict(False, "truncated")
        return Verdict(True, score=loops)


def _grams(said: Sequence[str]) -> set[tuple[str, ...]]:
    return set(zip(said, said[1:], said[2:], strict=False))


def repetition(said: Sequence[str]) -> float:
    """1 - distinct / all n-grams of words: 0 for ordinary prose, near 1 for a loop, 0 for fewer than n words."""
    return _repeating(said, _grams(said))


def _repeating(said: Sequence[str], grams: Set[tuple[str, ...]]) -> float:
    count = len(said) - NGRAM + 1
    return 1 - len(grams) / count if count > 0 else 0.0


def is_looping(said: Sequence[str], again: int) -> bool:
    """Whether 1 to LONGEST_LOOP words come TIMES times in a row, wherever and however long the rest is.

    again: how many of its n-grams came before. TIMES rounds of s words have TIMES s - NGRAM + 1 n-grams, s of them
    distinct, which bounds s.
    """
    longest = min(LONGEST_LOOP, len(said) // TIMES, (again + NGRAM - 1) // (TIMES - 1))
    for size in range(1, longest + 1):
        same = 0
        for word, later in zip(said, said[size:], strict=False):
            same = same + 1 if word == later else 0
            if same >= (TIMES - 1) * size:
                return True
    return False
