"""Our iALS, BPR and EASE against the libraries and formulas they stand for: python -m eval.bench.equality

Everyone learns from the training rows of one item-random split of MovieLens (or of --split) and is ranked in full.
`ials`: our student is `implicit` inside; here the library is called directly, with the same options. `bpr`: ours is our
own, as the library's knows no weights; the library's has as many factors, learns from items with history alone, and of
TRIED validation chooses on the first seed; items without history come last in its lists. `ease`: the closed form of
Steck 2019 by numpy.linalg.inv on the dense matrix. Seeds are of the students, and of the order of ties; a spread is a
standard deviation over them. A row of --json:

{"student": "bpr", "group": "warm", "ours": 0.12, "theirs": 0.12, "difference": 0.001, "spreads": [0.002, 0.002]}
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from eval.bench.report import print_json, start
from eval.ranking import Held, Scorer, held_out, per_user
from eval.split import cut
from llm_aug import sources
from llm_aug.clean import CleanOptions, clean
from llm_aug.data import Split
from llm_aug.splits import read_split
from recommender import make_student

DATA = Path(__file__).parents[3] / "shared" / "data" / "movies-ml-latest-small"
GROUPS, K = ("overall", "warm"), 20
TRIED = [
    {"learning_rate": rate, "regularization": strength, "iterations": rounds}
    for rate, strength, rounds in itertools.product((0.01, 0.05), (0.01, 0.05), (50, 150))
]


@dataclass(frozen=True)
class Table:
    """Scores of someone else's model: [users, items], and in the last row of a user that it does not know."""

    users: pd.Index
    rows: NDArray[np.float32]

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        return self.rows[self.users.get_indexer(pd.Index(users))]


@dataclass(frozen=True)
class Training:
    """The pairs of the split once more, by other means than ours. matrix: ones [users, items with history]."""

    users: pd.Index
    warm: NDArray[np.int64]
    matrix: csr_matrix
    items: int

    def table(self, scores: NDArray[np.floating[Any]], others: float = 0.0) -> Table:
        """scores: [users, items with history]; an item without has `others`."""
        rows = np.full((len(self.users) + 1, self.items), others, dtype=np.float32)
        rows[:-1, self.warm] = scores
        return Table(self.users, rows)


def training(split: Split) -> Training:
    row, users = pd.factorize(split.train["user_id"], sort=True)
    place = {item: at for at, item in enumerate(split.items["item_id"])}
    warm, column = np.unique(split.train["item_id"].map(place).to_numpy(dtype=np.int64), return_inverse=True)
    matrix = csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=(len(users), len(warm)))
    return Training(pd.Index(users), warm, matrix, len(place))


def ials(data: Training, seed: int) -> Table:
    """The library draws first factors of the whole catalogue, so it is given the whole."""
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    whole = csr_matrix((data.matrix.data, data.warm[data.matrix.indices], data.matrix.indptr))
    whole.resize(len(data.users), data.items)
    ours: Any = make_student("ials", {}, seed)
    options = {name: getattr(ours, name) for name in ("factors", "regularization", "alpha", "iterations")}
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(**options, random_state=seed)
        model.fit(whole, show_progress=False)
    return data.table((model.user_factors @ model.item_factors.T)[:, data.warm])


def bpr(data: Training, seed: int, options: dict[str, Any]) -> Table:
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    ours: Any = make_student("bpr", {}, seed)
    model = BayesianPersonalizedRanking(factors=ours.factors, random_state=seed, num_threads=1, **options)
    model.fit(data.matrix, show_progress=False)
    return data.table(model.user_factors @ model.item_factors.T, others=-np.inf)


def ease(data: Training, _: int) -> Table:
    """B = -P / diag(P) with P = (X'X + l2 I)^-1 and a diagonal of 0; scores are X B."""
    ours: Any = make_student("ease", {}, 0)
    X = data.matrix.toarray().astype(np.float64)
    P = np.linalg.inv(X.T @ X + ours.l2 * np.eye(X.shape[1]))
    B = -P / np.diag(P)
    np.fill_diagonal(B, 0)
    return data.table(X @ B)


def ndcg(model: Scorer, held: Held, seed: int) -> list[float]:
    """Of GROUPS."""
    rows = per_user(model, held, (K,), seed, GROUPS)
    means = rows.groupby("group")[f"ndcg@{K}"].mean()
    return [float(means[group]) for group in GROUPS]


def measure(split: Split, seeds: int, tried: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as at the top, and what of `tried` was chosen for the library's BPR."""
    data, test, validation = training(split), held_out(split, "test"), held_out(split, "validation")
    chosen = max(tried, key=lambda options: ndcg(bpr(data, 0, options), validation, 0)[0])
    theirs: dict[str, Callable[[Training, int], Table]] = {
        "ials": ials,
        "bpr": lambda data, seed: bpr(data, seed, chosen),
        "ease": ease,
    }
    found = []
    for student, make in theirs.items():
        ours = np.array([ndcg(make_student(student, {}, n).fit(split.training), test, n) for n in range(seeds)])
        other = np.array([ndcg(make(data, n), test, n) for n in range(seeds)])
        for at, group in enumerate(GROUPS):
            pair = ours[:, at], other[:, at]
            row = {"student": student, "group": group, "ours": pair[0].mean(), "theirs": pair[1].mean()}
            spreads = [float(one.std(ddof=1)) if seeds > 1 else None for one in pair]
            found.append({**row, "difference": row["ours"] - row["theirs"], "spreads": spreads})
            if student == "bpr":
                found[-1]["their_options"] = chosen
    return found


def line(row: dict[str, Any]) -> str:
    figures = [row["ours"], row["theirs"], row["difference"], *row["spreads"]]
    cells = "".join(f"{'-':>12}" if one is None else f"{one:12.6f}" for one in figures)
    return f"{row['student']:8}{row['group']:8}{cells}"


def main(json: bool = False, split: Path | None = None, seeds: int = 5) -> None:
    """split: a folder of `llm-aug split`, instead of the one that is made of shared/data."""
    options = CleanOptions(min_rating=3.5, min_item_count=3)
    found = measure(read_split(split) if split else cut(clean(sources.read(DATA), options).dataset), seeds, TRIED)
    if json:
        print_json(found)
        return
    titles = ("ours", "theirs", "difference", "our spread", "theirs")
    typer.echo(f"{f'NDCG@{K}':16}" + "".join(f"{title:>12}" for title in titles))
    for row in found:
        typer.echo(line(row))
    options_of_bpr = next(row["their_options"] for row in found if "their_options" in row)
    typer.echo(f"bpr of the library, of {len(TRIED)} on validation: {options_of_bpr}")


if __name__ == "__main__":
    start(main)
