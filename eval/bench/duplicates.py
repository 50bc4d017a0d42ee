"""Greedy near-duplicate removal, exact, against semhash's index: python -m eval.bench.duplicates

Random unit vectors, of which 30 % are near-duplicates of another at graded cosines. Each side gets the same vectors and
both cores, and its time holds all that it builds. `every pair` is brute force: BLAS products of all pairs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import typer
from numpy.typing import NDArray

from eval.bench.report import Side, show
from llm_aug import seeds
from llm_aug.greedy import keep_first
from llm_aug.neighbours import Vectors, unit

NEAR, COSINES = 0.3, (0.80, 0.85, 0.88, 0.92, 0.95, 0.98, 1.0)
BLOCK, ROUNDING = 2048, 1e-5

Kept = NDArray[np.bool_]


def planted(rows: int, width: int, seed: int) -> Vectors:
    """[rows, width]: random directions, NEAR of them at one of COSINES to another one, in random order."""
    rng = seeds.generator(seed, "bench", "duplicates")
    near = int(rows * NEAR)
    fresh = unit(rng.standard_normal((rows - near, width), dtype=np.float32))
    of = fresh[rng.integers(0, len(fresh), near)]
    aside = rng.standard_normal((near, width), dtype=np.float32)
    aside = unit(aside - (aside * of).sum(1, keepdims=True) * of)
    cosine = rng.choice(np.array(COSINES, np.float32), near)[:, None]
    return unit(np.concatenate([fresh, cosine * of + np.sqrt(1 - cosine**2) * aside])[rng.permutation(rows)])


def every_pair(vectors: Vectors, threshold: float) -> Kept:
    kept = np.zeros(len(vectors), dtype=bool)
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        ones, others = np.nonzero(block @ vectors[: start + len(block)].T >= threshold - ROUNDING)
        below = others < ones + start
        ones, others = ones[below], others[below]
        exact = (block[ones].astype(np.float64) * vectors[others]).sum(axis=1).astype(np.float32)
        rivals: dict[int, list[int]] = {}
        for one, other in zip(ones[exact >= threshold].tolist(), others[exact >= threshold].tolist(), strict=True):
            rivals.setdefault(one, []).append(other)
        for row in range(len(block)):
            kept[start + row] = not kept[rivals.get(row, [])].any()
    return kept


def semhash(vectors: Vectors, threshold: float) -> Kept:
    """With its own settings: usearch (HNSW), which takes all cores."""
    from semhash import SemHash

    names = [str(row) for row in range(len(vectors))]
    index = SemHash.from_embeddings(vectors, names, model=None)
    kept = np.zeros(len(vectors), dtype=bool)
    kept[[int(str(name)) for name in index.self_deduplicate(threshold=threshold).selected]] = True
    return kept


def timed(work: Callable[[Vectors, float], Kept], vectors: Vectors, threshold: float) -> tuple[Kept, float]:
    """What is kept, and thousands of rows a second."""
    started = time.perf_counter()
    kept = work(vectors, threshold)
    return kept, len(vectors) / 1000 / (time.perf_counter() - started)


def main(
    json: bool = False,
    rows: int = 100_000,
    width: int = 384,
    threshold: float = 0.9,
    repeats: int = 1,
    seed: int = 0,
) -> None:
    """Ratios of one run; `equal_to_brute_force` compares the kept rows of all."""
    vectors = planted(rows, width, seed)
    works: dict[str, Callable[[Vectors, float], Kept]] = {
        "exact greedy": keep_first,
        "semhash": semhash,
        "every pair": every_pair,
    }
    sides = {name: Side(name, []) for name in works}
    kept: dict[str, Kept] = {}
    keep_first(vectors[: rows // 10], threshold)  # loads what is loaded once
    for _ in range(repeats):
        for name, work in works.items():
            kept[name], speed = timed(work, vectors, threshold)
            sides[name].values.append(speed)
    ours = sides["exact greedy"]
    ratios = {"vs_semhash": ours.over(sides["semhash"]), "vs_every_pair": ours.over(sides["every pair"])}
    equal = bool((kept["exact greedy"] == kept["every pair"]).all())
    counts = {f"kept by {name}": int(one.sum()) for name, one in kept.items()}
    show("1000 rows a second", list(sides.values()), ratios, json, equal_to_brute_force=equal, **counts)


if __name__ == "__main__":
    typer.run(main)
