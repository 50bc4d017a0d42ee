"""Which samples stay: a cascade of filters, each with its reasons, and what it needs to be judged again.

KEPT/kept.parquet      samples           KEPT/dropped.parquet   samples + reason, score, nearest
KEPT/scores.parquet    sample_id, dropped_by, and per step its score and nearest neighbour
KEPT/filter.json       thresholds with their sources, counts, and who was nearest to a threshold
KEPT/corpus.json       what was kept as a whole, against the real data
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain, groupby, starmap
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from llm_aug.chosen import chosen, runs
from llm_aug.data import Dataset, Sample, Verdict
from llm_aug.files import write_json, write_tables
from llm_aug.filters.borderline import SHOWN, Near, beside, line
from llm_aug.filters.corpus import corpus
from llm_aug.filters.reference import Reference, Threshold
from llm_aug.filters.verdicts import UNASKED, Said
from llm_aug.registry import check_options, named
from llm_aug.results import grouped
from llm_aug.tables import SAMPLE_SCHEMA, VERDICT_FIELDS, dropped_table, samples_table
from llm_aug.text import encodable
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
# Steps whose verdict on a sample depends on no other sample: they are asked for as many as memory has room for.
ALONE = {"quality", "duplicate", "lexical", "privacy", "language", "facts"}
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
    """said: per step its verdict on each sample it judged, else None."""

    samples: Sequence[Sample]
    said: Mapping[str, Said]
    thresholds: Mapping[str, Mapping[str, Threshold]]
    options: Options
    reference: Reference

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The final one of each sample."""
        return tuple(map(self.verdict, range(len(self.samples))))

    def verdict(self, row: int) -> Verdict:
        return next((one for said in reversed(list(self.said.values())) if (one := said[row])), Verdict(True))

    @cached_property
    def _fell(self) -> NDArray[np.bool_]:
        fell = np.zeros(len(self.samples), np.bool_)
        for said in self.said.values():
            fell |= said.codes > 0
        return fell

    @property
    def kept(self) -> Sequence[Sample]:
        return chosen(self.samples, np.flatnonzero(~self._fell))

    @property
    def dropped(self) -> Iterator[tuple[Sample, Verdict]]:
        return ((self.samples[row], self.verdict(row)) for row in np.flatnonzero(self._fell).tolist())

    @property
    def scores(self) -> dict[str, tuple[float | None, ...]]:
        """Per step the score of each sample it judged and scored, else None."""
        return {step: tuple(map(said.score, range(len(said)))) for step, said in self.said.items()}

    @property
    def dropped_by(self) -> tuple[str, ...]:
        """Per sample the step that dropped it, '' where it was kept."""
        found = np.full(len(self.samples), "", dtype=object)
        for step, said in self.said.items():
            found[said.codes > 0] = step
        return tuple(found)

    @cached_property
    def _ids(self) -> list[str]:
        return [sample.sample_id for sample in self.samples]

    def borderline(self, count: int = SHOWN) -> dict[str, list[Near]]:
        """Per step the samples nearest to each of its thresholds: `count` kept and `count` dropped ones."""
        found = {
            step: beside(step, self._ids, said, self.thresholds[step], count)
            for step, said in self.said.items()
            if step in self.thresholds
        }
        return {step: rows for step, rows in found.items() if rows}

    @cached_property
    def reasons(self) -> dict[str, int]:
        """How many fell by each reason, most frequent first."""
        return dict(Counter(self.verdict(row).reason for row in np.flatnonzero(self._fell).tolist()).most_common())

    def at(self, **options: Mapping[str, Any]) -> FilterResult:
        """The verdicts with these options changed, as in at(fidelity={"copy": 0.95}); no text is encoded twice."""
        every = {step: {**self.options.get(step, {}), **options.get(step, {})} for step in {**self.options, **options}}
        return cascade(self.samples, self.reference, every)

    def write(self, folder: Path) -> None:
        """kept.parquet last: whoever finds it finds the rest."""
        dropped = pa.schema([*SAMPLE_SCHEMA, *starmap(pa.field, VERDICT_FIELDS)])
        _write(folder / "dropped.parquet", dropped, grouped(starmap(_writable, self.dropped), dropped_table))
        _write(folder / "scores.parquet", *self._scores())
        write_json(folder / "filter.json", self.summary())
        write_json(folder / "corpus.json", corpus(self.kept, self.reference))
        _write(folder / "kept.parquet", SAMPLE_SCHEMA, grouped(self.kept, samples_table))

    def _scores(self) -> tuple[pa.Schema, Iterator[pa.Table]]:
        fields = [("sample_id", pa.string()), ("dropped_by", pa.string())]
        for step in self.said:
            fields += [(step, pa.float64()), (f"{step}_nearest", pa.string())]
        schema, fell = pa.schema(fields), self.dropped_by

        def table(rows: Iterable[int]) -> pa.Table:
            some = np.fromiter(rows, np.int64)
            columns: list[Any] = [[self._ids[row] for row in some], [fell[row] for row in some]]
            for said in self.said.values():
                columns += [pa.array(said.scores[some], from_pandas=True), said.nearest[some]]
            return pa.table(columns, schema)

        return schema, grouped(range(len(self.samples)), table)

    @property
    def counts(self) -> dict[str, int]:
        dropped = int(self._fell.sum())
        return {"judged": len(self.samples), "kept": len(self.samples) - dropped, "dropped": dropped}

    def summary(self) -> dict[str, Any]:
        return {
            "encoder": self.reference.encoder.name,
            "counts": self.counts,
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
        counts = "{judged} judged = {kept} kept + {dropped} dropped".format(**self.counts)
        return f"{counts} ({reasons})" if reasons else counts


def _writable(sample: Sample, verdict: Verdict) -> tuple[Sample, Verdict]:
    """As Parquet can hold it."""
    return sample if sample.text is None else replace(sample, text=encodable(sample.text)), verdict


def _write(path: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    """A row group at least, as `write_parquet` leaves it."""
    write_tables(path, schema, chain([next(tables, schema.empty_table())], tables))


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
    return cascade(samples, Reference(training, encoder, earlier), options)


def cascade(samples: Sequence[Sample], reference: Reference, options: Options | None = None) -> FilterResult:
    """As `run`, with what the reference has measured and encoded before."""
    options = options or {}
    filters = _load(reference, options)
    said = {name: Said(len(samples)) for name in FILTERS}
    thresholds: dict[str, Mapping[str, Threshold]] = {}
    kept = np.arange(len(samples))
    for alone, names in groupby(FILTERS, ALONE.__contains__):
        steps = {name: filters.pop(name) for name in names}  # what a step has read of the catalogue ends with it
        for rows, some in runs(samples, kept.tolist()) if alone else [(kept.tolist(), chosen(samples, kept))]:
            _judge(steps, rows, some, said)
        for name, step in steps.items():
            if (said[name].codes != UNASKED).any():
                limits = step.thresholds.items()  # an infinite one is none
                thresholds[name] = {limit: one for limit, one in limits if math.isfinite(one.value)}
            kept = kept[said[name].codes[kept] <= 0]
    return FilterResult(samples, said, thresholds, options, reference)


def _judge(
    steps: Mapping[str, Filter], rows: Sequence[int], samples: Sequence[Sample], said: Mapping[str, Said]
) -> None:
    """One step after the other, each of what those before it kept; rows: of these samples."""
    left = list(range(len(rows)))
    for name, step in steps.items():
        asked = [place for place in left if step.applies(samples[place])]
        for place, verdict in zip(asked, step.judge(chosen(samples, asked)) if asked else (), strict=True):
            assert verdict.keep == (not verdict.reason), (name, verdict)
            said[name].put(rows[place], verdict)
        left = [place for place in left if said[name].codes[rows[place]] <= 0]


def _load(reference: Reference, options: Options) -> dict[str, Filter]:
    for name in options:
        named("filter", name, FILTERS)
    filters: dict[str, Filter] = {}
    for name in FILTERS:
        make, given = named("filter", name, FILTERS), options.get(name, {})
        check_options(f"filter {name!r}", given, make.Config)
        filters[name] = make(reference, make.Config(**given))
    return filters
