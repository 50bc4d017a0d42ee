"""Texts that give nobody away: no personal data, no passage of another item's text or of a user's review."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from llm_aug.data import Sample, Verdict
from llm_aug.errors import InputError
from llm_aug.filters.ngrams import Passages
from llm_aug.filters.personal import RULES, Presidio, found
from llm_aug.filters.reference import Reference, Threshold, threshold
from llm_aug.filters.schema import TEXT_KINDS
from llm_aug.text import normalised

NGRAM = 12


@dataclass(frozen=True)
class PrivacyConfig:
    """ngram: words from which a shared passage is a copy. urls: whether they may stand. presidio: asks it as well."""

    ngram: int | None = None
    urls: bool = False
    presidio: bool = False


@dataclass
class Privacy:
    """Reasons: personal_data (nearest is what was found), copied_ngram (nearest the item, score the words, if `ngram`).

    What stands in the item's own catalogue row is public and may be said. Passages are of every text column of the
    catalogue and of the log's reviews, of which a short one is a passage as a whole.
    """

    reference: Reference
    config: PrivacyConfig
    Config: ClassVar = PrivacyConfig

    def __post_init__(self) -> None:
        if self.config.ngram is not None and self.config.ngram < 2:
            raise InputError(f"filter privacy: ngram is at least 2 words, not {self.config.ngram}")

    def applies(self, sample: Sample) -> bool:
        return sample.kind in TEXT_KINDS

    @cached_property
    def thresholds(self) -> dict[str, Threshold]:
        return {"ngram": threshold(self.config.ngram, NGRAM, "default: so many words in a row are no chance")}

    @cached_property
    def _kinds(self) -> list[str]:
        return [kind for kind in RULES if kind != "url" or not self.config.urls]

    @cached_property
    def _presidio(self) -> Presidio | None:
        return Presidio() if self.config.presidio else None

    @cached_property
    def _columns(self) -> list[str]:
        return [name for name in self.reference.training.columns if name != "item_id"]

    @cached_property
    def _passages(self) -> Passages:
        return Passages(self._training(), int(self.thresholds["ngram"].value), self.reference.reviews)

    def _training(self) -> Iterator[tuple[str, str]]:
        for column in self._columns:
            values = (str(value) for part in self.reference.training.values(column) for value in part)
            yield from zip(self.reference.ids, values, strict=True)
        yield from self.reference.reviews

    def _own(self, subject: str) -> list[str]:
        row = self.reference.row.get(subject)
        if row is None:
            return []
        item = self.reference.item(row)
        return [str(item[name]) for name in self._columns]

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        return [self._verdict(sample.text or "", self._own(sample.subject)) for sample in samples]

    def _verdict(self, text: str, own: list[str]) -> Verdict:
        pieces = found(text, self._kinds)
        if self._presidio is not None:
            pieces += self._presidio.found(text)
        public = f" {normalised(' '.join(own))} " if pieces else ""
        for _, said in pieces:
            if f" {normalised(said)} " not in public:
                return Verdict(False, "personal_data", nearest=said)
        length, source = self._passages.longest(self.reference.read(text).split(), own)
        if length:
            score = float(length) if length >= self._passages.n else None
            return Verdict(False, "copied_ngram", score, source)
        return Verdict(True)
