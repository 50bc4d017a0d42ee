"""Why one sample was kept or dropped: what each step said, the sample, its item and its nearest neighbours."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain, zip_longest
from pathlib import Path

import pyarrow.compute as pc

from llm_aug.data import Dataset, Sample, Verdict
from llm_aug.errors import InputError
from llm_aug.files import read_json, read_parquet
from llm_aug.filters import FilterResult
from llm_aug.filters.histories import story
from llm_aug.filters.reference import Threshold
from llm_aug.tables import samples_from

WIDTH = 118  # of the columns together
BY_SAMPLE = ("repeat", "pairs")  # steps that compare samples: their `nearest` is a sample before it is an item
BY_WORDS = ("facts", "privacy")  # steps whose `nearest` is what the text says; a number may also be an item's id


@dataclass(frozen=True)
class Said:
    score: float | None
    nearest: str


@dataclass(frozen=True)
class Explained:
    """said: by step, in their order. dropped_by: '' where it was kept. others: samples that a step compared it with."""

    sample: Sample
    said: Mapping[str, Said]
    dropped_by: str
    reason: str
    thresholds: Mapping[str, Mapping[str, Threshold]]
    others: Mapping[str, Sample]
    encoder: str


def from_result(result: FilterResult, sample_id: str) -> Explained:
    """Raises InputError where no sample has this id."""
    ids = [sample.sample_id for sample in result.samples]
    row = _row(sample_id, ids, "the samples")
    verdicts = {step: said[row] or Verdict(True) for step, said in result.said.items()}
    said = {step: Said(verdict.score, verdict.nearest) for step, verdict in verdicts.items()}
    near = {one.nearest for one in said.values()}
    every = chain(result.samples, result.reference.earlier)
    others = {sample.sample_id: sample for sample in every if sample.sample_id in near}
    encoder, reason = result.reference.encoder.name, result.verdict(row).reason
    return Explained(result.samples[row], said, result.dropped_by[row], reason, result.thresholds, others, encoder)


def from_folder(folder: Path, sample_id: str, earlier: Iterable[Sample] = ()) -> Explained:
    """From what `FilterResult.write` left, and the earlier samples. Raises InputError where no sample has this id."""
    scores = read_parquet(folder / "scores.parquet")
    row = scores.slice(_row(sample_id, scores["sample_id"].to_pylist(), str(folder)), 1).to_pylist()[0]
    summary = read_json(folder / "filter.json")
    steps = [name for name in scores.column_names if f"{name}_nearest" in row]
    said = {step: Said(row[step], row[f"{step}_nearest"]) for step in steps}
    thresholds = {
        step: {name: Threshold(**limit) for name, limit in limits.items()}
        for step, limits in summary["thresholds"].items()
    }
    others: dict[str, Sample] = {}
    reason = ""
    for name in ("kept", "dropped"):
        table = read_parquet(folder / f"{name}.parquet")
        wanted = pc.is_in(table["sample_id"], pc.cast([sample_id, *(one.nearest for one in said.values())], "string"))
        table = table.filter(wanted)
        others |= {sample.sample_id: sample for sample in samples_from(table)}
        if name == "dropped":
            reasons = dict(zip(table["sample_id"].to_pylist(), table["reason"].to_pylist(), strict=True))
            reason = reasons.get(sample_id, "")
    sample, near = others[sample_id], {one.nearest for one in said.values()}
    others |= {one.sample_id: one for one in earlier if one.sample_id in near}
    return Explained(sample, said, row["dropped_by"], reason, thresholds, others, summary["encoder"])


def shown(explained: Explained, training: Dataset) -> str:
    """The explanation as text, in columns of WIDTH characters together."""
    sample, catalogue = explained.sample, _Catalogue(training)
    verdict = f"dropped by {explained.dropped_by}: {explained.reason}" if explained.dropped_by else "kept"
    columns = [(f"sample {sample.sample_id}", catalogue.content(sample))]
    if sample.subject in catalogue.row:
        columns.append((f"its own item {sample.subject}", catalogue.item(sample.subject)))
    for step, nearest in _neighbours(explained):
        if nearest != sample.subject:
            columns.append(catalogue.neighbour(step, nearest, explained.others))
    steps = [f"  {line}" for line in _steps(explained)]
    return "\n".join(
        [
            f"{sample.sample_id}: {sample.kind} of {sample.subject}, {verdict}",
            f"made by {sample.origin.generator}, weight {sample.weight:g}; vectors of {explained.encoder}",
            "",
            *steps,
            "",
            *_side_by_side(columns),
        ]
    )


def _row(sample_id: str, ids: Sequence[str], place: str) -> int:
    if sample_id in ids:
        return ids.index(sample_id)
    close = get_close_matches(sample_id, ids, n=3, cutoff=0.5)
    known = (
        f"did you mean {' or '.join(map(repr, close))}?" if close else f"one of {len(ids)} is {min(ids, default='')!r}"
    )
    raise InputError(f"{place}: no sample {sample_id!r}; {known}")


def _steps(explained: Explained) -> Iterator[str]:
    reached = True
    for step, said in explained.said.items():
        fell = step == explained.dropped_by
        words = explained.reason if fell else "nothing against it" if reached else "not reached"
        score = "" if said.score is None else f", score {said.score:.3f}"
        near = f", nearest {said.nearest}" if said.nearest else ""
        yield f"{step:15} {words}{score}{near}"
        for name, limit in sorted(explained.thresholds.get(step, {}).items()) if reached else ():
            yield f"{'':15}   {name} {limit.value:.4g} ({limit.source})"
        reached = reached and not fell


def _neighbours(explained: Explained) -> Iterator[tuple[str, str]]:
    """Each once, that of the last step first: it dropped the sample, or saw it latest."""
    seen: set[str] = set()
    for step, said in reversed(list(explained.said.items())):
        if said.nearest and said.nearest not in seen:
            seen.add(said.nearest)
            yield step, said.nearest


class _Catalogue:
    def __init__(self, training: Dataset) -> None:
        self._items = training.items
        self._log = training.interactions
        self.row = {item: row for row, item in enumerate(training.items["item_id"])}

    def item(self, item: str) -> str:
        """Its description, then each fact on a line of its own."""
        row = self._items.iloc[self.row[item]].to_dict()
        facts = [f"{name}: {value}" for name, value in row.items() if value and name not in ("item_id", "description")]
        return "\n".join([row["description"] or "(no description)", *facts])

    def title(self, item: str) -> str:
        return str(self._items["title"].iloc[self.row[item]]) or item if item in self.row else item

    def content(self, sample: Sample) -> str:
        pairs = [f"{pair.user_id} -> {self.title(pair.item_id)}" for pair in sample.interactions or ()]
        if sample.kind == "history":
            pairs = [self.title(item) for item in story(sample)]
        return "\n".join([*([sample.text] if sample.text else []), *pairs])

    def neighbour(self, step: str, nearest: str, others: Mapping[str, Sample]) -> tuple[str, str]:
        """A heading and the words of what a step named: a sample, an item, a user of the log, or words of the text."""
        if step in BY_WORDS:
            return f"{step}: it is about", nearest
        is_sample, is_item = nearest in others, nearest in self.row
        if is_sample and (step in BY_SAMPLE or not is_item):
            return f"{step}: nearest is sample {nearest}", self.content(others[nearest])
        if is_item:
            return f"{step}: nearest is item {nearest}", self.item(nearest)
        own = self._log.loc[self._log["user_id"] == nearest]
        if len(own):
            timed = own.sort_values(["timestamp", "item_id"], na_position="first")
            return f"{step}: nearest is user {nearest}", "\n".join(self.title(item) for item in timed["item_id"])
        return f"{step}: it is about", nearest


def _side_by_side(columns: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Three to a row of columns."""
    for start in range(0, len(columns), 3):
        some = columns[start : start + 3]
        width = (WIDTH - 3 * (len(some) - 1)) // len(some)
        cells = [
            [
                *textwrap.wrap(head, width),
                "-" * width,
                *(part for text in body.splitlines() for part in _lines(text, width)),
            ]
            for head, body in some
        ]
        for parts in zip_longest(*cells, fillvalue=""):
            yield " | ".join(f"{part:{width}}" for part in parts).rstrip()
        yield ""


def _lines(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width) or [""]
