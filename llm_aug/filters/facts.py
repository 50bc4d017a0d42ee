"""Rewrites without invented facts: no number, unit, name or brand that the item's own row does not hold."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from llm_aug.data import Sample, Verdict, item_text
from llm_aug.facts import NOUNS, Known, Vocabulary, invented_names, invented_numbers, known, lost_quantities
from llm_aug.filters.reference import FEWEST, Reference, Threshold, threshold
from llm_aug.recent import Recent

REMEMBERED = 1 << 20  # letters of items whose facts are remembered, which take some 30 bytes each
_SEPARATORS = re.compile(r"[|;,]")


@dataclass(frozen=True)
class FactsConfig:
    """numbers, names: invented ones allowed. lost: share of the description's numbers with units that may be gone.

    None: no invented number; no invented name, where the catalogue can tell names; any may be gone.
    """

    numbers: int | None = None
    names: int | None = None
    lost: float | None = None


@dataclass
class Facts:
    """Reasons: invented_number, invented_name (score: how many), lost_fact (score: the share); nearest: the first one.

    The row is all of the item's columns. Which words are names is read off the catalogue: see `facts.Vocabulary`.
    """

    reference: Reference
    config: FactsConfig
    _rows: Recent[str, Known] = field(default_factory=lambda: Recent(REMEMBERED))
    Config: ClassVar = FactsConfig

    def applies(self, sample: Sample) -> bool:
        return sample.kind == "description"

    @cached_property
    def thresholds(self) -> dict[str, Threshold]:
        found = {
            "numbers": threshold(self.config.numbers, 0, "default: a rewrite adds none"),
            "names": self._names,
        }
        return found if self.config.lost is None else {**found, "lost": threshold(self.config.lost, 1, "")}

    @property
    def _names(self) -> Threshold:
        count, share = len(self.reference.ids), self._vocabulary.capitals
        if count < FEWEST:
            told = f"default: {count} items are too few to tell names from other words"
        elif share >= NOUNS:
            told = f"default: {share:.0%} of the words inside sentences have a capital letter, so it tells no name"
        else:
            return threshold(self.config.names, 0, "default: a rewrite adds none")
        return threshold(self.config.names, math.inf, told)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        training = self.reference.training
        cells = (str(cell) for column in training.attributes for part in training.values(column) for cell in set(part))
        values = {part.strip() for cell in cells for part in _SEPARATORS.split(cell)}
        titles = (str(title) for part in training.values("title") for title in part)
        return Vocabulary.of(self.reference.descriptions, titles, sorted(values))

    def _known(self, item: str) -> Known:
        text = item_text(self.reference.item(self.reference.row[item]), self.reference.training.attributes)
        return self._rows.get(item, lambda: known(text), len(text))

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        return [self._verdict(sample.subject, sample.text or "") for sample in samples]

    def _verdict(self, item: str, text: str) -> Verdict:
        limits, row = self.thresholds, self._known(item)
        numbers = invented_numbers(text, row)
        if len(numbers) > limits["numbers"].value:
            return Verdict(False, "invented_number", float(len(numbers)), numbers[0])
        names = invented_names(text, row, self._vocabulary)
        if len(names) > limits["names"].value:
            return Verdict(False, "invented_name", float(len(names)), names[0])
        if "lost" in limits:
            lost, held = lost_quantities(self.reference.descriptions[self.reference.row[item]], text)
            if lost and len(lost) / held > limits["lost"].value:
                return Verdict(False, "lost_fact", len(lost) / held, lost[0])
        return Verdict(True, score=float(len(numbers) + len(names)))
