"""From scores to per-user metrics of a full ranking, against ranx: python -m eval.bench.metrics

Scores of seeded factors come in blocks of 256 users, each with items he has seen, which do not compete, and up to 20
relevant ones; making them is nobody's time. `full` takes every user from scores to lists of 100 and all metrics, and
`full + auc` adds AUC and the figures of the catalogue. ranx reads dicts and ranks no matrix: its side picks the 100
best by numpy.argpartition, makes Run and Qrels, and evaluates the same metrics, for some --ranx-users of the same
users, in blocks between ours; `ranx, evaluate alone` is its share from a finished Run on. Speeds are per user, so a
subset is scaled linearly. It compiles for each width of its strings, before and not counted, and takes as many threads
as numba sees; ours takes as many as there are cores.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from eval.bench.report import Side, show
from eval.catalogue import catalogue_metrics
from eval.metrics import METRICS, Mask, Ranked, Scores, Values, auc, counts, hits_of, rank, values_of
from eval.ranking import USERS_AT_ONCE, Group, Lists
from llm_aug import seeds

KS = (10, 20, 50, 100)
WIDTH, SEEN, MOST_RELEVANT = 32, 40, 20
NAMES = {"hit": "hit_rate", **{name: name for name in METRICS if name != "hit"}}  # ours to those of ranx


@dataclass(frozen=True)
class Block:
    """start: the first user. scores, candidates, relevant: [users, items]."""

    start: int
    scores: Scores
    candidates: Mask
    relevant: Mask


def blocks(users: int, items: int, seed: int) -> Iterator[Block]:
    """The same for the same arguments. Relevant items are drawn from the better half, so that some are found."""
    factors = seeds.generator(seed, "bench", "metrics", "items").standard_normal((items, WIDTH), dtype=np.float32)
    for start in range(0, users, USERS_AT_ONCE):
        rng = seeds.generator(seed, "bench", "metrics", start)
        n = min(USERS_AT_ONCE, users - start)
        scores = rng.standard_normal((n, WIDTH), dtype=np.float32) @ factors.T
        rows = np.arange(n)[:, None]
        relevant = np.zeros((n, items), dtype=bool)
        drawn = rng.integers(0, items, (n, MOST_RELEVANT, 8))
        best = np.take_along_axis(drawn, scores[rows[:, :, None], drawn].argmax(axis=2)[:, :, None], axis=2)[:, :, 0]
        wanted = np.arange(MOST_RELEVANT) < rng.integers(1, MOST_RELEVANT + 1, n)[:, None]
        relevant[np.broadcast_to(rows, best.shape)[wanted], best[wanted]] = True
        seen = np.zeros_like(relevant)
        seen[rows, rng.integers(0, items, (n, SEEN))] = True
        yield Block(start, scores, ~seen | relevant, relevant)


class Ours:
    """seconds: to the metrics; more: of AUC and the catalogue's figures."""

    def __init__(self, items: int, seed: int) -> None:
        self.items, self.seed = items, seed
        self.seconds = self.more = 0.0
        self.lists: list[Ranked] = []
        self.values: list[dict[str, Values]] = []

    def take(self, block: Block) -> None:
        started = time.perf_counter()
        ties = seeds.generator(self.seed, "ties", "bench", block.start)
        ranked = rank(block.scores, block.candidates, max(KS), ties)
        self.values.append(values_of(hits_of(ranked, block.relevant), counts(block.relevant), KS))
        self.seconds += time.perf_counter() - started
        self.lists.append(ranked)
        started = time.perf_counter()
        auc(block.scores, block.candidates, block.relevant)
        self.more += time.perf_counter() - started

    def finish(self) -> None:
        started = time.perf_counter()
        ranked = np.concatenate(self.lists)
        groups = {"overall": Group(np.ones(len(ranked), dtype=bool), np.ones(self.items, dtype=bool))}
        catalogue_metrics({"overall": Lists(np.arange(len(ranked)), ranked)}, groups, np.arange(self.items), KS)
        self.more += time.perf_counter() - started


class Ranx:
    """seconds: from scores to metrics; alone: of these, evaluating a finished Run."""

    def __init__(self, items: int) -> None:
        self.names = np.array([f"i{item:07d}" for item in range(items)], dtype=object)
        self.run: dict[str, dict[str, float]] = {}
        self.truth: dict[str, dict[str, int]] = {}
        self.values: dict[str, Values] = {}
        self.starts: list[int] = []
        self.seconds = self.alone = 0.0

    def take(self, block: Block) -> None:
        self.starts.append(block.start)
        started = time.perf_counter()
        scores = np.where(block.candidates, block.scores, -np.inf)
        top = np.argpartition(-scores, max(KS), axis=1)[:, : max(KS)]
        values = np.take_along_axis(scores, top, axis=1)
        rows = zip(self.names[top].tolist(), values.tolist(), block.relevant, strict=True)
        for n, (listed, marks, relevant) in enumerate(rows, block.start):
            self.run[f"u{n:07d}"] = dict(zip(listed, marks, strict=True))
            self.truth[f"u{n:07d}"] = dict.fromkeys(self.names[relevant].tolist(), 1)
        self.seconds += time.perf_counter() - started

    def finish(self) -> None:
        from ranx import Qrels, Run, evaluate  # type: ignore[import-untyped]

        started = time.perf_counter()
        truth, run = Qrels(self.truth), Run(self.run)
        made = time.perf_counter()
        names = [f"{name}@{k}" for name in NAMES.values() for k in KS]
        self.values = evaluate(truth, run, names, return_mean=False)
        self.alone = time.perf_counter() - made
        self.seconds += time.perf_counter() - started


def largest_difference(ours: Ours, theirs: Ranx) -> float:
    """Over all users that both had, metrics and cut-offs."""
    gaps, both = [], [ours.values[start // USERS_AT_ONCE] for start in theirs.starts]
    for name, other in NAMES.items():
        for k in KS:
            mine: NDArray[np.float64] = np.concatenate([values[f"{name}@{k}"] for values in both])
            gaps.append(float(np.abs(mine - theirs.values[f"{other}@{k}"]).max()))
    return max(gaps)


def measure(users: int, items: int, ranx_users: int, seed: int) -> tuple[Ours, Ranx]:
    """Both sides get the same blocks in turn; ranx one of several, spread over all, where it gets fewer users."""
    ours, theirs = Ours(items, seed), Ranx(items)
    every = max(1, users // max(ranx_users, 1))
    for block in blocks(users, items, seed):
        ours.take(block)
        if block.start // USERS_AT_ONCE % every == 0:
            theirs.take(block)
    ours.finish()
    theirs.finish()
    return ours, theirs


def main(
    json: bool = False,
    users: int = 50_000,
    items: int = 20_000,
    ranx_users: int = 5_000,
    repeats: int = 1,
    seed: int = 0,
) -> None:
    """Ratios of one run; `largest_difference` compares the metrics of all users that ranx got."""
    names = ("full", "full + auc", "ranx", "ranx, evaluate alone")
    sides = {name: Side(name, []) for name in names}
    told: dict[str, Any] = {}
    measure(USERS_AT_ONCE, items, USERS_AT_ONCE, seed)  # compiles ranx
    for _ in range(repeats):
        ours, theirs = measure(users, items, ranx_users, seed)
        scaled = len(theirs.run)
        for name, speed in zip(
            names,
            (users / ours.seconds, users / (ours.seconds + ours.more), scaled / theirs.seconds, scaled / theirs.alone),
            strict=True,
        ):
            sides[name].values.append(speed / 1000)
        told = {"largest_difference": largest_difference(ours, theirs), "users": users, "ranx_users": scaled}
    full = sides["full"]
    ratios = {"vs_ranx": full.over(sides["ranx"]), "with_auc_vs_ranx": sides["full + auc"].over(sides["ranx"])}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux tells kB
    show("1000 users a second", list(sides.values()), ratios, json, **told, peak_memory_gb=round(peak, 2))


if __name__ == "__main__":
    typer.run(main)
