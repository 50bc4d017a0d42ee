"""Which samples stay: a cascade of filters, each with its reasons, and what it needs to be judged again.

KEPT/kept.parquet      samples           KEPT/dropped.parquet   samples + reason, score, nearest
KEPT/scores.parquet    sample_id, dropped_by, and per step its score and nearest neighbour
KEPT/filter.json       thresholds with their sources, counts, and who was nearest to a threshold
KEPT/corpus.json       what was kept as a whole, against the real data
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from llm_aug.data import Dataset, Sample, Verdict
from llm_aug.files import write_json, write_parquet
from llm_aug.filters.borderline import SHOWN, Near, beside, line
from llm_aug.filters.corpus import corpus
from llm_aug.filters.reference import Reference, Threshold
from llm_aug.registry import check_options, named
from llm_aug.tables import VERDICT_FIELDS, samples_table
from llm_aug.vectors import Encoder

# In this order: the cheap ones first, so that what they drop is never encoded; `repeat` last, since it compares
# with what is kept, and nothing after it may drop what it compared with.
FILTERS = {
    "schema": "llm_aug.filters.schema:Schema",
    "pairs": "llm_aug.filters.pairs:Pairs",
    "quality": "llm_aug.filters.quality:Quality",
    "duplicate": "llm_aug.filters.duplicate:Duplicate",
    "lexical": "llm_aug.filters.lexical:Lexical",
    "privacy": "llm_aug.filters.privacy:Privacy",
    "language": "llm_aug.filters.language:Language",
    "facts": "llm_aug.filters.facts:Facts",
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
    """verdicts: the final one of each sample. said: per step its verdict on each sample it judged, else None."""

    samples: tuple[Sample, ...]
    verdicts: tuple[Verdict, ...]
    said: Mapping[str, tuple[Verdict | None, ...]]
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
    def scores(self) -> dict[str, tuple[float | None, ...]]:
        """Per step the score of each sample it judged and scored, else None."""
        return {step: tuple(one.score if one else None for one in said) for step, said in self.said.items()}

    @property
    def dropped_by(self) -> tuple[str, ...]:
        """Per sample the step that dropped it, '' where it was kept."""
        found = [""] * len(self.samples)
        for step, said in self.said.items():
            for row, verdict in enumerate(said):
                if verdict is not None and not verdict.keep:
                    found[row] = step
        return tuple(found)

    def borderline(self, count: int = SHOWN) -> dict[str, list[Near]]:
        """Per step the samples nearest to each of its thresholds: `count` kept and `count` dropped ones."""
        ids = [sample.sample_id for sample in self.samples]
        found = {
            step: beside(step, ids, said, self.thresholds[step], count)
            for step, said in self.said.items()
            if step in self.thresholds
        }
        return {step: rows for step, rows in found.items() if rows}

    @property
    def reasons(self) -> dict[str, int]:
        """How many fell by each reason, most frequent first."""
        return dict(Counter(verdict.reason for _, verdict in self.dropped).most_common())

    def at(self, **options: Mapping[str, Any]) -> FilterResult:
        """The verdicts under other thresholds, as in at(fidelity={"copy": 0.95}); no text is encoded twice."""
        return cascade(self.samples, self.reference, {**self.options, **options})

    def write(self, folder: Path) -> None:
        """kept.parquet last: whoever finds it finds the rest."""
        dropped = samples_table(sample for sample, _ in self.dropped)
        for name, kind in VERDICT_FIELDS:
            values = [getattr(verdict, name) for _, verdict in self.dropped]
            dropped = dropped.append_column(name, pa.array(values, kind))
        ids = pa.array([sample.sample_id for sample in self.samples], pa.string())
        columns = {"sample_id": ids, "dropped_by": pa.array(self.dropped_by, pa.string())}
        for step, scores in self.scores.items():
            columns[step] = pa.array(scores, pa.float64())
            nearest = [one.nearest if one else "" for one in self.said[step]]
            columns[f"{step}_nearest"] = pa.array(nearest, pa.string())
        write_parquet(folder / "dropped.parquet", dropped)
        write_parquet(folder / "scores.parquet", pa.table(columns))
        write_json(folder / "filter.json", self.summary())
        write_json(folder / "corpus.json", corpus(self.kept, self.reference))
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
            "borderline": {step: [asdict(near) for near in rows] for step, rows in self.borderline().items()},
        }

    def told(self) -> Iterator[str]:
        """For people: each threshold with its value and source, and who was nearest to it on either side."""
        near = self.borderline(1)
        for step, thresholds in self.thresholds.items():
            for name, limit in thresholds.items():
                yield f"{step}.{name} = {limit.value:.4g} ({limit.source})" + line(name, near.get(step, ()))

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in self.reasons.items())
        counts = f"{len(self.samples)} judged = {len(self.kept)} kept + {len(self.dropped)} dropped"
        return f"{counts} ({reasons})" if reasons else counts


def run(
    samples: Sequence[Sample],
    training: Dataset,
    encoder: Encoder,
    options: Options | None = None,
    earlier: Sequence[Sample] = (),
) -> FilterResult:
    """Judges samples against the training data. options: per filter, as in {"fidelity": {"margin": 0.05}}.

    Raises InputError for an unknown filter or option.
    """
    return cascade(samples, Reference(training, encoder, tuple(earlier)), options)


def cascade(samples: Sequence[Sample], reference: Reference, options: Options | None = None) -> FilterResult:
    """As `run`, with what the reference has measured and encoded before."""
    samples, options = tuple(samples), options or {}
    filters = _load(reference, options)
    verdicts = [Verdict(True)] * len(samples)
    said: dict[str, tuple[Verdict | None, ...]] = {}
    thresholds: dict[str, Mapping[str, Threshold]] = {}
    for name, step in filters.items():
        rows = [row for row, sample in enumerate(samples) if verdicts[row].keep and step.applies(sample)]
        found = dict(zip(rows, step.judge([samples[row] for row in rows]), strict=True))
        said[name] = tuple(found.get(row) for row in range(len(samples)))
        if rows:
            limits = step.thresholds.items()  # an infinite one is none
            thresholds[name] = {limit: one for limit, one in limits if math.isfinite(one.value)}
        for row, verdict in found.items():
            assert verdict.keep == (not verdict.reason), (name, verdict)
            verdicts[row] = verdict
    result = FilterResult(samples, tuple(verdicts), said, thresholds, options, reference)
    assert len(samples) == len(result.kept) + len(result.dropped)
    return result


def _load(reference: Reference, options: Options) -> dict[str, Filter]:
    for name in options:
        named("filter", name, FILTERS)
    filters: dict[str, Filter] = {}
    for name in FILTERS:
        make, given = named("filter", name, FILTERS), options.get(name, {})
        check_options(f"filter {name!r}", given, make.Config)
        filters[name] = make(reference, make.Config(**given))
    return filters
