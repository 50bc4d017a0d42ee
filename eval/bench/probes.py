"""A labelled probe set of real catalogues through the whole filter: python -m eval.bench.probes [--data FOLDER]

FOLDER holds data sets, each a folder with items and interactions. Rows are planted by rule and seed (probe_texts): each
has one fault, or none, and the reasons that would be right. What the filter does to them is told per kind and reason.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from eval.bench import probe_texts as texts
from eval.bench import probe_words as said
from eval.bench.report import print_json
from llm_aug import filters, seeds, sources
from llm_aug.clean import clean
from llm_aug.data import Dataset, Sample, Verdict, item_texts
from llm_aug.filters.reference import Reference
from llm_aug.text import sentences, words
from llm_aug.vectors import Cached, load_encoder

DATA = Path(__file__).parents[3] / "shared" / "data"
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
FEWEST_WORDS = 20  # of a description that probes are made from, and two sentences
COMMON = 20  # descriptions that hold a word, for it to be no name
CLEAN_SHARE = 4  # clean rows of each way, for one row of each planted kind
LEXICAL = ("lexical_duplicate", "lexical_repeat")
NEAR = ("near_duplicate", "copied_ngram", *LEXICAL)
OTHERS = ("unfaithful", *NEAR, "invented_name", "invented_number")
Maker = Callable[[str, texts.Random], str | None]


@dataclass(frozen=True)
class Probe:
    """reasons: those that would be right, the one it was planted for first; none where it is to be kept.

    beside: a faultless text of the same item that is judged with it and comes first, '' for none.
    """

    kind: str
    subject: str
    text: str
    reasons: tuple[str, ...] = ()
    beside: str = ""


@dataclass(frozen=True)
class Kind:
    """as_expected: dropped for one of its reasons. reasons: how many were dropped for each."""

    rows: int
    caught: int
    as_expected: int
    reasons: dict[str, int]


@dataclass(frozen=True)
class Reason:
    """dropped: rows. precision: percent of them for which it is right. recall: percent of the rows planted for it that
    were dropped for any of their reasons; None where no row was."""

    dropped: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Measured:
    """clean_dropped: percent of the faultless rows."""

    rows: int
    clean_dropped: float
    kinds: dict[str, Kind]
    reasons: dict[str, Reason]


ALONE: Mapping[str, tuple[Maker, tuple[str, ...]]] = {
    "exact: case": (texts.other_case, ("exact_duplicate",)),
    "exact: spacing": (texts.other_spacing, ("exact_duplicate",)),
    "exact: full width": (texts.other_form, ("exact_duplicate",)),
}
# Made from a faultless paraphrase, so that nothing but the fault is wrong with them.
SPOILT: Mapping[str, tuple[Maker, tuple[str, ...]]] = {
    "number added": (texts.with_number, ("invented_number",)),
    "number changed": (texts.other_number, ("invented_number",)),
    "unit changed": (texts.other_unit, ("invented_number",)),
    "brand added": (texts.with_brand, ("invented_name",)),
    "loop": (texts.looped, ("repetition", "too_long")),
    "truncated": (texts.cut, ("truncated",)),
    "leaked prompt": (said.LEAKED, ("leaked_instruction",)),
    "refusal": (said.refused, ("refusal", "leaked_instruction")),
    "personal: mail": (texts.with_one_of(said.mail), ("personal_data",)),
    "personal: phone": (texts.with_one_of(said.phone), ("personal_data",)),
    "personal: card": (texts.with_one_of(said.card), ("personal_data",)),
    "personal: address": (texts.with_one_of(said.address), ("personal_data",)),
    "hostile: injection": (said.INJECTION, ("leaked_instruction",)),
    "hostile: braces": (said.BRACES, ("markup", "leaked_instruction")),
    "hostile: chat tokens": (said.CHAT, ("leaked_instruction", "markup")),
    "hostile: script": (said.SCRIPT, ("markup", "leaked_instruction")),
    "other language": (said.in_another_language, ("other_language",)),
}
CLEAN = ("synonyms", "clauses", "sentences", "numbers")


def probes(dataset: Dataset, count: int, seed: int = 0) -> list[Probe]:
    """count rows of each planted kind, CLEAN_SHARE * count of each clean one, fewer where not enough texts are fit."""
    items = zip(dataset.items["item_id"], dataset.items["description"], strict=True)
    told = {item: text for item, text in items if len(words(text)) >= FEWEST_WORDS and len(sentences(text)) > 1}
    found: list[Probe] = []
    for kind, makes in _kinds(told, _common(dataset)).items():
        of_kind: list[Probe] = []
        for place in seeds.generator(seed, "probes", kind).permutation(len(told)):
            item = list(told)[place]
            probe = makes(item, seeds.generator(seed, "probes", kind, item))
            of_kind += [probe] if probe and (probe.text != told[item] or probe.kind == "swapped: raw") else []
            if len(of_kind) == count * (1 if probe and probe.reasons else CLEAN_SHARE):
                break
        found += of_kind
    return found


def _kinds(told: Mapping[str, str], common: Sequence[str]) -> dict[str, Callable[[str, texts.Random], Probe | None]]:
    """By kind how a probe is made of an item, or None where it cannot be."""
    items = list(told)

    def other(item: str, random: texts.Random) -> str:
        return next(one for one in iter(lambda: items[int(random.integers(len(items)))], "") if one != item)

    def alone(kind: str, make: Maker, reasons: tuple[str, ...], swap: bool = False) -> Callable[..., Probe | None]:
        def probe(item: str, random: texts.Random) -> Probe | None:
            made = make(told[other(item, random) if swap else item], random)
            return Probe(kind, item, made, reasons) if made else None

        return probe

    def spoilt(kind: str, make: Maker, reasons: tuple[str, ...], beside: bool = False) -> Callable[..., Probe | None]:
        def probe(item: str, random: texts.Random) -> Probe | None:
            fair = texts.paraphrase(told[item], random)
            made = make(fair, random) if fair else None
            return Probe(kind, item, made, reasons, fair if beside and fair else "") if made else None

        return probe

    makers = {kind: alone(kind, *how) for kind, how in ALONE.items()}
    makers["swapped: raw"] = alone("swapped: raw", lambda text, _: text, ("exact_duplicate", *OTHERS), swap=True)
    makers["swapped: paraphrase"] = alone("swapped: paraphrase", texts.paraphrase, OTHERS, swap=True)
    makers |= {kind: spoilt(kind, *how) for kind, how in SPOILT.items()}
    repeats = {"case": texts.other_case, "spacing": texts.other_spacing, "full width": texts.other_form}
    for name, repeat in repeats.items():
        makers[f"repeat: {name}"] = spoilt(f"repeat: {name}", repeat, ("repeated_text",), beside=True)
    for share in SHARES:
        edit = _edits(share, common)
        own = ("copy", "exact_duplicate", *NEAR)  # exact where the edit moved nothing but spaces or marks
        makers[f"own text, {share:.0%}"] = alone(f"own text, {share:.0%}", edit, own)
        makers[f"other's text, {share:.0%}"] = alone(
            f"other's text, {share:.0%}", edit, ("near_duplicate", *OTHERS), True
        )
        near = ("near_repeat", "repeated_text", *LEXICAL)
        makers[f"kept text, {share:.0%}"] = spoilt(f"kept text, {share:.0%}", edit, near, beside=True)
    for way in CLEAN:
        makers[f"clean: {way}"] = alone(f"clean: {way}", _paraphrases(way), ())
    return makers


def _edits(share: float, common: Sequence[str]) -> Maker:
    return lambda text, random: texts.edited(text, share, common, random)


def _paraphrases(way: str) -> Maker:
    return lambda text, random: texts.paraphrase(text, random, way)


def _common(dataset: Dataset) -> list[str]:
    """Words that COMMON descriptions hold in small letters: to edit with, and no names."""
    counts = Counter(word for text in dataset.items["description"] for word in set(words(text)) if word.islower())
    return sorted(word for word, count in counts.items() if count >= COMMON and word.isalpha()) or ["thing"]


def judged(planted: Sequence[Probe], reference: Reference) -> list[Verdict]:
    """The filter's verdict on each, in rounds in which no item has two probes: they would be repeats of each other."""
    rounds: defaultdict[int, list[int]] = defaultdict(list)
    taken: Counter[str] = Counter()
    for row, probe in enumerate(planted):
        rounds[taken[probe.subject]].append(row)
        taken[probe.subject] += 1
    verdicts: dict[int, Verdict] = {}
    for rows in rounds.values():
        samples = [
            Sample(name, "description", planted[row].subject, text)
            for row in rows
            for name, text in ((f"0/{row:06}", planted[row].beside), (f"1/{row:06}", planted[row].text))
            if text
        ]
        result = filters.cascade(samples, reference)
        for sample, verdict in zip(result.samples, result.verdicts, strict=True):
            if sample.sample_id.startswith("1/"):
                verdicts[int(sample.sample_id[2:])] = verdict
    return [verdicts[row] for row in range(len(planted))]


def measure(planted: Sequence[Probe], verdicts: Sequence[Verdict]) -> Measured:
    rows = list(zip(planted, verdicts, strict=True))
    kinds = {}
    for kind in dict.fromkeys(probe.kind for probe in planted):
        own = [(probe, verdict) for probe, verdict in rows if probe.kind == kind]
        dropped = Counter(verdict.reason for _, verdict in own if not verdict.keep)
        right = sum(verdict.reason in probe.reasons for probe, verdict in own)
        kinds[kind] = Kind(len(own), dropped.total(), right, dict(dropped.most_common()))
    names = [verdict.reason for verdict in verdicts if not verdict.keep]
    names += [probe.reasons[0] for probe in planted if probe.reasons]
    clean = [verdict.keep for probe, verdict in rows if not probe.reasons]
    reasons = {name: _reason(name, rows) for name in sorted(set(names))}
    return Measured(len(rows), _percent(clean.count(False), len(clean)) or 0.0, kinds, reasons)


def _reason(name: str, rows: Sequence[tuple[Probe, Verdict]]) -> Reason:
    dropped = [probe for probe, verdict in rows if verdict.reason == name]
    meant = [verdict.reason in probe.reasons for probe, verdict in rows if probe.reasons[:1] == (name,)]
    right = sum(name in probe.reasons for probe in dropped)
    return Reason(len(dropped), _percent(right, len(dropped)), _percent(sum(meant), len(meant)))


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def table(name: str, found: Measured) -> Iterator[str]:
    yield f"{name}: {found.rows} rows, {found.clean_dropped} % of the clean ones dropped"
    yield f"  {'kind':22} rows  caught  as expected  dropped for"
    for kind, one in found.kinds.items():
        why = ", ".join(f"{reason} {count}" for reason, count in list(one.reasons.items())[:4])
        yield f"  {kind:22} {one.rows:4} {one.caught:7} {one.as_expected:12}  {why}".rstrip()
    yield f"  {'reason':22} dropped  precision %  recall %"
    for reason, told in found.reasons.items():
        shares = ("-" if share is None else f"{share:.1f}" for share in (told.precision, told.recall))
        yield "  {:22} {:7} {:>12} {:>9}".format(reason, told.dropped, *shares)


def main(
    data: Annotated[Path, typer.Option(file_okay=False)] = DATA,
    encoder: str = "minilm",
    rows: Annotated[int, typer.Option(min=1, help="Of each planted kind; there are some forty kinds.")] = 50,
    seed: int = 0,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    measured: dict[str, Measured] = {}
    for folder in sorted(path.parent for path in data.glob("*/items.parquet")):
        training = clean(sources.read(folder)).dataset
        planted = probes(training, rows, seed)
        reference = Reference(training, Cached(load_encoder(encoder, item_texts(training))))
        measured[folder.name] = measure(planted, judged(planted, reference))
        if not as_json:
            sys.stdout.write(
                "\n".join(table(f"{folder.name}, {reference.encoder.name}", measured[folder.name])) + "\n\n"
            )
    if as_json:
        print_json([{"data": name, "encoder": encoder, **asdict(found)} for name, found in measured.items()])


if __name__ == "__main__":
    typer.run(main)
