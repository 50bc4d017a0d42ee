"""The whole filter against the encoding of every text: python -m eval.bench.cascade

Rewrites by rule of the office catalogue, of which 30 % repeat another one or a description in case, spacing or Unicode
form. Both sides start with the catalogue's vectors in the cache, and with none of the texts'.
"""

from __future__ import annotations

import tempfile
import time
import unicodedata
from pathlib import Path

import numpy as np
import typer

from eval.bench.report import Side, show
from llm_aug import filters, seeds
from llm_aug.data import Dataset, Sample, read_dataset
from llm_aug.filters.reference import Reference
from llm_aug.text import sentences
from llm_aug.vectors import Cached, Encoder, load_encoder

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "amazon-office"
REPEATED = 0.3


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


def encoded(samples: list[Sample], encoder: Encoder) -> float:
    started = time.perf_counter()
    encoder.encode([sample.text or "" for sample in samples])
    return len(samples) / (time.perf_counter() - started)


def filtered(samples: list[Sample], dataset: Dataset, encoder: Encoder) -> tuple[float, str, int]:
    """Texts a second, what became of them, and how many were encoded."""
    with tempfile.TemporaryDirectory() as folder:
        cached = Cached(encoder, Path(folder))
        catalogue = Reference(dataset, cached)
        cached.encode([*catalogue.descriptions, *catalogue.sources, *catalogue.facts])
        before = cached.misses
        started = time.perf_counter()
        result = filters.run(samples, dataset, cached)
        return len(samples) / (time.perf_counter() - started), str(result), cached.misses - before


def main(
    json: bool = False,
    texts: int = 4000,
    items: int = 1000,
    encoder: str = "minilm",
    data: Path = DATA,
    repeats: int = 1,
    seed: int = 0,
) -> None:
    """data: a prepared folder with descriptions, of which `items` are the catalogue."""
    whole = read_dataset(data)
    described = whole.items[whole.items["description"].str.strip() != ""].head(items).reset_index(drop=True)
    dataset = Dataset(described, whole.interactions[whole.interactions["item_id"].isin(described["item_id"])])
    samples = rewrites(dataset, texts, seed)
    model = load_encoder(encoder)
    model.encode([sample.text or "" for sample in samples[:32]])
    whole_cascade, every_text = Side("whole cascade", []), Side("encode every text", [])
    told, asked = "", 0
    for _ in range(repeats):
        every_text.values.append(encoded(samples, model))
        speed, told, asked = filtered(samples, dataset, model)
        whole_cascade.values.append(speed)
    ratios = {"vs_encode_all": whole_cascade.over(every_text)}
    share = float(np.round(asked / texts, 4))
    show("texts a second", [whole_cascade, every_text], ratios, json, texts=texts, encoded_share=share, outcome=told)


if __name__ == "__main__":
    typer.run(main)
