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
from llm_aug.text import CHAT_TOKENS, normalised, sentences, words

NGRAM = 3
_SPEAKING = re.compile(
    r"\bas an? (?:ai|artificial intelligence|language model)\b"
    r"|\bI(?:'m| am) (?:sorry|unable|not able)\b.{0,40}\b(?:assist|help|provide|fulfil)"
    r"|\A\W*(?:sure|certainly|of course|okay)[,!.]? (?:here|i\b|let)"
    r"|\bhere(?:'s| is| are) (?:a|an|the|your|my) (?:\w+ )?(?:rewrit\w+|rephras\w+|paraphras\w+|description|version)\b"
    r"|\b(?:ignore|disregard|forget) (?:all |any )?(?:the |your )?(?:previous|above|prior) (?:instructions?|prompts?)",
    re.IGNORECASE,
)
_RUN = re.compile(r"(\S)\1{9,}|(?:\b(\w+)\W+)(?:\2\W+){4}", re.IGNORECASE)


@dataclass(frozen=True)
class QualityConfig:
    """Words at least and at most, and the share of word 3-grams that repeat an earlier one; None measures them."""

    min_words: int | None = None
    max_words: int | None = None
    repetition: float | None = None


@dataclass
class Quality:
    """Reasons: too_short, too_long, repetition, leaked_instruction. score: words, or the repeating share."""

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
            low, high, loops, of = 4.0, 400.0, 0.3, f"default: only {len(told)} real descriptions"
        else:
            counts = [len(words(text)) for text in told]
            low = float(np.clip(np.floor(np.quantile(counts, 0.01)), 4, 10))
            high = float(np.clip(np.ceil(2 * np.quantile(counts, 0.99)), 100, 2000))
            loops = float(np.clip(np.quantile([repetition(text) for text in told], 0.999), 0.2, 0.5))
            of = f"of {len(told)} real descriptions"
        return {
            "min_words": threshold(self.config.min_words, low, f"1% quantile {of}, kept in 4 to 10"),
            "max_words": threshold(self.config.max_words, high, f"twice the 99% quantile {of}, kept in 100 to 2000"),
            "repetition": threshold(self.config.repetition, loops, f"99.9% quantile {of}, kept in 0.2 to 0.5"),
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
        return [self._verdict(sample.text or "") for sample in samples]

    def _verdict(self, text: str) -> Verdict:
        count, limits = float(len(words(text))), self.thresholds
        if CHAT_TOKENS.search(text) or _SPEAKING.search(text):
            return Verdict(False, "leaked_instruction")
        read = f" {normalised(text)} "
        if any(f" {sentence} " in read for sentence in self._instructions):
            return Verdict(False, "leaked_instruction")
        if count < limits["min_words"].value:
            return Verdict(False, "too_short", count)
        if count > limits["max_words"].value:
            return Verdict(False, "too_long", count)
        loops = 1.0 if _RUN.search(text) else repetition(text)
        if loops > limits["repetition"].value:
            return Verdict(False, "repetition", loops)
        return Verdict(True, score=loops)


def repetition(text: str) -> float:
    """1 - distinct / all word n-grams: 0 for ordinary prose, near 1 for a loop, 0 for fewer than n words."""
    said = normalised(text).split()
    grams = [tuple(said[start : start + NGRAM]) for start in range(len(said) - NGRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
