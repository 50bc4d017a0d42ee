"""Which samples stay: a cascade of filters, each with its reasons, and what it needs to be judged again.

KEPT/kept.parquet      samples           KEPT/dropped.parquet   samples + reason, score, nearest
KEPT/scores.parquet    sample_id + a score per step     KEPT/filter.json   thresholds with their sources, counts
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from llm_aug.data import Dataset, Sample, Verdict
from llm_aug.errors import InputError, did_you_mean
from llm_aug.files import write_json, write_parquet
from llm_aug.filters.reference import Reference, Threshold
from llm_aug.tables import VERDICT_FIELDS, samples_table
from llm_aug.vectors import Encoder

# In this order: the cheap ones first, so that what they drop is never encoded; `repeat` last, since it compares
# with what is kept, and nothing after it may drop what it compared with.
FILTERS = {
    "schema": "llm_aug.filters.schema:Schema",
    "pairs": "llm_aug.filters.pairs:Pairs",
    "quality": "llm_aug.filters.quality:Quality",
    "duplicate": "llm_aug.filters.duplicate:Duplicate",
    "near_duplicate": "llm_aug.filters.near_duplicate:NearDuplicate",
    "fidelity": "llm_aug.filters.fidelity:Fidelity",
    "repeat": "llm_aug.filters.repeat:Repeat",
}
Options = Mapping[str, Mapping[str, Any]]


class Filter(Protocol):
    """Made with (reference, config); its class names the config's class as `Config`."""

    @property
    def thresholds(self) -> Mapping[str, Threshold]: ...

    def applies(self, sample: Sample) -> bool:
        """Whether this sample is of a kind that the filter judges; any other passes."""

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        """One verdict per sample, in order. score is given for kept samples too, where there is one."""


@dataclass(frozen=True)
class FilterResult:
    """verdicts: the final one of each sample. scores: per step the score of each sample it judged, else None."""

    samples: tuple[Sample, ...]
    verdicts: tuple[Verdict, ...]
    scores: Mapping[str, tuple[float | None, ...]]
    thresholds: Mapping[str, Mapping[str, Threshold]]
    options: Options
    reference: Reference

    @property
    def kept(self) -> list[Sample]:
        return [sample for sample, verdict in zip(self.samples, self.verdicts, strict=True) if verdict.keep]

    @property
    def dropped(self) -> list[tuple[Sample, Verdict]]:
        return [pair for pair in zip(self.samples, self.verdicts, strict=True) if not pair[1].keep]

    @property
    def reasons(self) -> dict[str, int]:
        """How many fell by each reason, most frequent first."""
        return dict(Counter(verdict.reason for _, verdict in self.dropped).most_common())

    def at(self, **options: Mapping[str, Any]) -> FilterResult:
        """The verdicts under other thresholds, as in at(fidelity={"copy": 0.95}); no text is encoded twice."""
        return _cascade(self.samples, self.reference, {**self.options, **options})

    def write(self, folder: Path) -> None:
        """kept.parquet last: whoever finds it finds the rest."""
        dropped = samples_table(sample for sample, _ in self.dropped)
        for name, kind in VERDICT_FIELDS:
            values = [getattr(verdict, name) for _, verdict in self.dropped]
            dropped = dropped.append_column(name, pa.array(values, kind))
        ids = pa.array([sample.sample_id for sample in self.samples], pa.string())
        scores = {step: pa.array(values, pa.float64()) for step, values in self.scores.items()}
        write_parquet(folder / "dropped.parquet", dropped)
        write_parquet(folder / "scores.parquet", pa.table({"sample_id": ids, **scores}))
        write_json(folder / "filter.json", self.summary())
        write_parquet(folder / "kept.parquet", samples_table(self.kept))

    def summary(self) -> dict[str, Any]:
        return {
            "encoder": self.reference.encoder.name,
            "counts": {"judged": len(self.samples), "kept": len(self.kept), "dropped": len(self.dropped)},
            "reasons": self.reasons,
            "thresholds": {
                step: {name: asdict(threshold) for name, threshold in thresholds.items()}
                for step, thresholds in self.thresholds.items()
            },
        }

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in self.reasons.items())
        counts = f"{len(self.samples)} judged = {len(self.kept)} kept + {len(self.dropped)} dropped"
        return f"{counts} ({reasons})" if reasons else counts


def run(samples: Sequence[Sample], training: Dataset, encoder: Encoder, options: Options | None = None) -> FilterResult:
    """Judges samples against the training data. options: per filter, as in {"fidelity": {"margin": 0.05}}.

    Raises InputError for an unknown filter or option.
    """
    return _cascade(tuple(samples), Reference(training, encoder), options or {})


def _cascade(samples: tuple[Sample, ...], reference: Reference, options: Options) -> FilterResult:
    filters = _load(reference, options)
    verdicts = [Verdict(True)] * len(samples)
    scores: dict[str, tuple[float | None, ...]] = {}
    thresholds: dict[str, Mapping[str, Threshold]] = {}
    for name, step in filters.items():
        rows = [row for row, sample in enumerate(samples) if verdicts[row].keep and step.applies(sample)]
        found = dict(zip(rows, step.judge([samples[row] for row in rows]), strict=True))
        scores[name] = tuple(found[row].score if row in found else None for row in range(len(samples)))
        if rows:
            thresholds[name] = step.thresholds
        for row, verdict in found.items():
            assert verdict.keep == (not verdict.reason), (name, verdict)
            verdicts[row] = verdict
    result = FilterResult(samples, tuple(verdicts), scores, thresholds, options, reference)
    assert len(samples) == len(result.kept) + len(result.dropped)
    return result


def _load(reference: Reference, options: Options) -> dict[str, Filter]:
    for name in options:
        if name not in FILTERS:
            raise InputError(f"no filter {name!r}; {did_you_mean(name, FILTERS)}")
    filters: dict[str, Filter] = {}
    for name, place in FILTERS.items():
        module, _, attribute = place.partition(":")
        make = getattr(import_module(module), attribute)
        given = options.get(name, {})
        known = [entry.name for entry in fields(make.Config)]
        for option in given:
            if option not in known:
                raise InputError(f"filter {name!r} has no option {option!r}; {did_you_mean(option, known)}")
        filters[name] = make(reference, make.Config(**given))
    return filters
