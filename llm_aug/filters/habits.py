"""Whether an invented user lives as real ones do: so many items, so popular, and of such categories.

Limits are the 0.5 % and 99.5 % quantiles of the real users of the log.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from llm_aug.data import Dataset, Verdict
from llm_aug.errors import InputError, did_you_mean
from llm_aug.filters.copied import RUN
from llm_aug.filters.histories import Log
from llm_aug.filters.reference import FEWEST, Threshold

LOW, HIGH = 0.005, 0.995
MOST_CATEGORIES = 64  # a column with more names things, as brands do
_MARKS = re.compile(r"[|;]")
LIMITS = {
    "min_length": "odd_length", "max_length": "odd_length", "min_popularity": "odd_popularity",
    "max_popularity": "odd_popularity", "mix": "odd_mix",
}  # fmt: skip


@dataclass
class Habits:
    """category: an attribute column; None takes the first of 2 to MOST_CATEGORIES values.

    The mean of few items varies more than that of many. So popularity and mix are measured on the latest RUN items of
    each real user, and of a shorter history they allow what chance brings.
    """

    log: Log
    training: Dataset
    category: str | None = None

    @cached_property
    def counts(self) -> Counter[str]:
        return Counter(self.log.interactions["item_id"])

    @cached_property
    def categories(self) -> dict[str, list[str]]:
        """Of each item that has any. Raises InputError where the catalogue has no such column."""
        columns = self.training.attributes if self.category is None else [self.category]
        for column in columns:
            if column not in self.training.attributes:
                known = did_you_mean(column, self.training.attributes)
                raise InputError(f"filter pairs: category {column!r} is no attribute column; {known}")
            found = {
                item: [part.strip() for part in _MARKS.split(str(cell)) if part.strip()]
                for item, cell in zip(self.training.items["item_id"], self.training.items[column], strict=True)
            }
            found = {item: own for item, own in found.items() if own}
            values = {value for own in found.values() for value in own}
            if self.category is not None or (
                2 <= len(values) <= MOST_CATEGORIES and any(any(c.isalpha() for c in value) for value in values)
            ):
                return found
        return {}

    @cached_property
    def _usual(self) -> dict[str, float]:
        return self._shares(list(self.log.interactions["item_id"]))

    def _shares(self, items: Sequence[str]) -> dict[str, float]:
        """The share of each category: an item of two counts a half for each."""
        shares: Counter[str] = Counter()
        told = [own for item in items if (own := self.categories.get(item))]
        for own in told:
            for value in own:
                shares[value] += 1 / len(own) / len(told)  # type: ignore[assignment]
        return dict(shares)

    def mix(self, items: Sequence[str]) -> float:
        """Total variation distance of its categories from the log's, 0 to 1; 0 where its items have none."""
        shares = self._shares(items)
        values = sorted(shares.keys() | self._usual.keys()) if shares else []
        return sum(abs(shares.get(value, 0.0) - self._usual.get(value, 0.0)) for value in values) / 2

    def popularity(self, items: Sequence[str], own: int = 0) -> float:
        """Mean of log(1 + interactions of an item), `own` of them not counted."""
        return sum(math.log1p(max(0, self.counts[item] - own)) for item in items) / max(1, len(items))

    @cached_property
    def measured(self) -> dict[str, Threshold]:
        """Nothing where the log has fewer than FEWEST users."""
        stories = list(self.log.histories.values())
        if len(stories) < FEWEST:
            return {}
        lengths = [len(items) for items in stories]
        latest = [items[-RUN:] for items in stories]
        with_own, without = ([self.popularity(items, own) for items in latest] for own in (0, 1))
        of = f"of {len(stories)} real users"
        cut = f"{of}, of their latest {RUN} items"
        short = min(float(np.quantile(lengths, LOW)), RUN)
        found = {
            "min_length": Threshold(short, f"{LOW:.1%} quantile {of}, {RUN} at most: a part of a history is one"),
            "max_length": Threshold(float(np.quantile(lengths, HIGH)), f"{HIGH:.1%} quantile {of}"),
            "min_popularity": Threshold(float(np.quantile(without, LOW)), f"{LOW:.1%} quantile {cut}"),
            "max_popularity": Threshold(float(np.quantile(with_own, HIGH)), f"{HIGH:.1%} quantile {cut}"),
        }
        if self.categories:
            mixes = [self.mix(items) for items in latest]
            found["mix"] = Threshold(float(np.quantile(mixes, HIGH)), f"{HIGH:.1%} quantile {cut}")
        return found

    def fault(self, items: Sequence[str], limits: Mapping[str, Threshold]) -> Verdict | None:
        """Reasons: odd_length, odd_popularity, odd_mix, by the limits that there are."""
        for name, limit in limits.items():
            kind = name.rpartition("_")[2]
            value = {"length": lambda: float(len(items)), "popularity": lambda: self.popularity(items)}.get(
                kind, lambda: self.mix(items)
            )()
            below = name.startswith("min_")
            if value < limit.value - 1e-9 if below else value > limit.value + 1e-9:
                return Verdict(False, LIMITS[name], value)
        return None
