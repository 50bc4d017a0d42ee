"""The whole filter against the encoding of every text: python -m eval.bench.cascade

Rewrites by rule of the office catalogue, of which 30 % repeat another one or a description in case, spacing or Unicode
form. All sides start with the catalogue's vectors in the cache, and with none of the texts'. Every text is encoded as
its library does it unasked, which for sentences sorts by letters, and as the cascade does it, by tokens (`sorted`).
cheap_ms: of the steps that encode nothing, per text; once_s: what a run of one text takes, hence what a run costs
once, which is not in cheap_ms. projected: the ratios at another number of texts, see `projected`; of measured parts,
not measured themselves. --sample N: encoding is timed on some N of the texts before each cascade and on as many others
after it, instead of on all: on whole batches of all the texts by length, so that they are padded as those are.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from eval.bench.report import Side, show, start
from llm_aug import filters, seeds
from llm_aug.data import Dataset, Sample, read_dataset
from llm_aug.errors import InputError
from llm_aug.filters.reference import Reference
from llm_aug.text import sentences
from llm_aug.vectors import BATCH, Cached, Encoder, SentenceEncoder, Vectors, load_encoder

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "amazon-office"
REPEATED = 0.3
Encode = Callable[[list[str]], object]


def catalogue_of(data: Path, items: int) -> Dataset:
    """The first items that have a description."""
    whole = read_dataset(data)
    described = whole.items[whole.items["description"].str.strip() != ""].head(items).reset_index(drop=True)
    return Dataset(described, whole.interactions[whole.interactions["item_id"].isin(described["item_id"])])


def rewrites(dataset: Dataset, count: int, seed: int) -> list[Sample]:
    """Words of an item's own description, drawn and shuffled by sentence; REPEATED of them repeat what went before."""
    rng = seeds.generator(seed, "bench", "cascade")
    told = dataset.items[dataset.items["description"].str.split().str.len() >= 20]
    own, texts = told["item_id"].to_numpy(), told["description"].to_numpy()
    fresh = count - int(count * REPEATED)
    samples: list[Sample] = []
    for row in range(fresh):
        place = row % len(own)
        parts = sentences(texts[place])
        words = [parts[part] for part in rng.permutation(len(parts))]
        gone = set(rng.integers(0, sum(len(part.split()) for part in words), 3).tolist())
        kept = [word for at, word in enumerate(" ".join(words).split()) if at not in gone]
        samples.append(Sample(f"{row:06}", "description", own[place], " ".join(kept)))
    for row in range(fresh, count):
        place = int(rng.integers(0, fresh))
        source = samples[place].text or "" if rng.random() < 0.7 else str(texts[place % len(own)])
        shown = (source.upper(), source.replace(" ", "  "), unicodedata.normalize("NFD", source))[row % 3]
        samples.append(Sample(f"{row:06}", "description", samples[place].subject, shown))
    return [samples[place] for place in rng.permutation(count)]


def drawn(texts: Sequence[str], count: int) -> tuple[list[str], list[str]]:
    """Twice some `count` of the texts, none in both: batches of all of them by length, evenly spread."""
    ordered = sorted(texts, key=len)
    parts = [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]
    places = np.unique(np.linspace(0, len(parts) - 1, 2 * max(1, round(count / BATCH))).astype(int))
    first, then = ([text for place in places[half::2] for text in parts[place]] for half in (0, 1))
    return first, then


def plainly(encoder: Encoder) -> Encode:
    """What the encoder's library does with a list of texts."""
    return encoder.model.encode if isinstance(encoder, SentenceEncoder) else encoder.encode


def seconds_of(ways: Iterable[Encode], texts: list[str]) -> NDArray[np.float64]:
    """[ways]"""
    return np.array([_seconds(way, texts) if texts else 0.0 for way in ways])


def _seconds(encode: Encode, texts: list[str]) -> float:
    started = time.perf_counter()
    encode(texts)
    return time.perf_counter() - started


class Timed:
    """An encoder that counts what it encodes and how long that takes."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.name = encoder, encoder.name
        self.seconds, self.texts = 0.0, 0

    def encode(self, texts: Sequence[str]) -> Vectors:
        started = time.perf_counter()
        vectors = self.encoder.encode(texts)
        self.seconds += time.perf_counter() - started
        self.texts += len(texts)
        return vectors


@dataclass(frozen=True)
class Run:
    """encoding: seconds of it; encoded: texts; told: what became of them."""

    seconds: float
    encoding: float
    encoded: int
    told: str


def filtered(samples: list[Sample], dataset: Dataset, encoder: Encoder, catalogue: Path) -> Run:
    """catalogue: a cache with its vectors."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(catalogue, folder, dirs_exist_ok=True)
        timed = Timed(encoder)
        cached = Cached(timed, Path(folder))
        cached.encode([""])  # reads the cache
        timed.seconds, timed.texts = 0.0, 0
        started = time.perf_counter()
        result = filters.run(samples, dataset, cached)
        return Run(time.perf_counter() - started, timed.seconds, timed.texts, str(result))


def cheap(run: Run, once: Run, texts: int) -> float:
    """Seconds a text of the steps that encode nothing, without what a run costs once."""
    return ((run.seconds - run.encoding) - (once.seconds - once.encoding)) / texts


def projected(every: float, own: float, run: Run, once: Run, texts: int, at: int) -> float:
    """at E / (O + at (s T + c)): seconds to encode a text, E on the other side and T in the cascade; O a run of one;
    s the share encoded; c cheap.

    It takes the cost of a text to be the same at any number of them.
    """
    share = (run.encoded - once.encoded) / texts
    return at * every / (once.seconds + at * (share * own + cheap(run, once, texts)))


def main(
    json: bool = False,
    texts: int = 4000,
    items: int = 1000,
    encoder: str = "minilm",
    data: Path = DATA,
    repeats: int = 1,
    at: int = 100_000,
    sample: int = 0,
    seed: int = 0,
) -> None:
    """data: a prepared folder with descriptions, of which `items` are the catalogue; at: texts to project to."""
    if 2 * sample > texts:
        raise InputError(f"--sample {sample}: two samples that share no text are more than the {texts} texts")
    dataset = catalogue_of(data, items)
    samples = rewrites(dataset, texts, seed)
    texts_of = [sample.text or "" for sample in samples]
    model = load_encoder(encoder)
    model.encode(texts_of[:BATCH])
    ways = {"encode every text": plainly(model), "encode every text, sorted": model.encode}
    whole_cascade, *others = (Side(name, []) for name in ("whole cascade", *ways))
    runs: list[Run] = []
    before, after = drawn(texts_of, sample) if sample else (texts_of, [])
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Reference(dataset, Cached(model, Path(folder)))
        catalogue.encode([*catalogue.descriptions, *catalogue.sources, *catalogue.facts])
        once = filtered(samples[:1], dataset, model, Path(folder))
        for _ in range(repeats):
            seconds = seconds_of(ways.values(), before)
            runs.append(filtered(samples, dataset, model, Path(folder)))
            whole_cascade.values.append(texts / runs[-1].seconds)
            seconds += seconds_of(ways.values(), after)
            for side, spent in zip(others, seconds, strict=True):
                side.values.append(len([*before, *after]) / spent)
    sides = dict(zip(("vs_encode_all", "vs_encode_all_sorted"), others, strict=True))
    ratios = {name: whole_cascade.over(side) for name, side in sides.items()}
    own = 1 / others[-1].middle
    parts = {
        "encoded_share": round(runs[-1].encoded / texts, 4),
        "cheap_ms": round(median(1e3 * cheap(run, once, texts) for run in runs), 3),
        "once_s": round(once.seconds, 2),
        f"projected_to_{at}": {
            name: round(median(projected(1 / side.middle, own, run, once, texts, at) for run in runs), 3)
            for name, side in sides.items()
        },
    }
    show("texts a second", [whole_cascade, *others], ratios, json, texts=texts, **parts, outcome=runs[-1].told)


if __name__ == "__main__":
    start(main)
