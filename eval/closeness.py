"""Whether synthetic rows lie nearer to the rows they were learnt from than to rows like them that nobody saw.

python -m eval.closeness SPLIT KEPT: histories of invented users, against users of the training and against as many
whom a user-random split left out, each a unit row over the items.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.arms import read_arm
from llm_aug import seeds
from llm_aug.data import Sample, Split
from llm_aug.errors import InputError, LlmAugError
from llm_aug.splits import read_split
from llm_aug.vectors import Vectors, nearest, unit
from recommender.matrix import pairs_matrix

TIE = 1e-6  # cosine distances this near are equal: below it is rounding


def dcr_share(synthetic: Vectors, training: Vectors, holdout: Vectors) -> float:
    """Share of synthetic rows whose closest record is a training row: mean of [d_t < d_h] + [d_t = d_h] / 2.

    d is the cosine distance to the closest record (DCR) of unit rows [n, d]. 0.5 where training and holdout are of one
    size and nothing was memorised, 1 where every row is nearer to what was seen. After Platzer and Reutterer,
    "Holdout-Based Empirical Assessment of Mixed-Type Synthetic Data" (2021). Raises InputError for an empty set.
    """
    return _nearer(_distances(synthetic, training, 1)[:, 0], _distances(synthetic, holdout, 1)[:, 0])


def nndr(synthetic: Vectors, real: Vectors) -> NDArray[np.float64]:
    """[n] ratio in 0 to 1 of the distance to the closest real row to that to the second closest; 1 where both are 0.

    Near 0: the row singles out one real row. Raises InputError for fewer than two real rows.
    """
    if len(real) < 2:
        raise InputError(f"a ratio of two neighbours needs two real rows, not {len(real)}")
    first, second = _distances(synthetic, real, 2).T
    return np.where(second <= TIE, 1.0, first / np.maximum(second, TIE))


def nndr_share(synthetic: Vectors, training: Vectors, holdout: Vectors) -> float:
    """As dcr_share with the ratio of `nndr` in place of the distance."""
    return _nearer(nndr(synthetic, training), nndr(synthetic, holdout))


def _distances(queries: Vectors, base: Vectors, k: int) -> NDArray[np.float64]:
    """[n, k] cosine distances to the k closest rows, never below 0."""
    if not len(queries) or not len(base):
        raise InputError(f"distances need rows on both sides, not {len(queries)} and {len(base)}")
    scores, _ = nearest(queries, base, k)
    return np.maximum(0.0, 1.0 - scores.astype(np.float64))


def _nearer(to_training: NDArray[np.float64], to_holdout: NDArray[np.float64]) -> float:
    tied = np.abs(to_training - to_holdout) <= TIE
    return float(np.mean(np.where(tied, 0.5, to_training < to_holdout)))


def invented_users(samples: Sequence[Sample], split: Split, seed: int = 0) -> dict[str, float]:
    """{users, real, dcr_share, nndr_share, nndr}: of the histories of users whom the log does not know.

    real: users on each side, drawn where one side has more. nndr: the median to the training. Raises InputError where
    the split left no users out, or where no sample is of an invented one.
    """
    logged = set(split.train["user_id"])
    pairs = [
        {"user_id": sample.subject, "item_id": pair.item_id, "weight": 1.0}
        for sample in samples
        if sample.kind == "history" and sample.subject not in logged
        for pair in sample.interactions or ()
    ]
    if not split.cold_users or not split.by_users:
        raise InputError("the split left no users out; make one with `llm-aug split DATA --strategy user-random`")
    if not pairs:
        raise InputError("no sample is the history of an invented user; see `llm-aug generate --task history`")
    left_out = set(split.cold_users)
    sides = {
        "training": split.train[~split.train["user_id"].isin(left_out)],
        "holdout": split.test[split.test["user_id"].isin(left_out)],
    }
    count = min(rows["user_id"].nunique() for rows in sides.values())
    items = pd.Index(split.items["item_id"])
    real: dict[str, Vectors] = {}
    for name, rows in sides.items():
        users = seeds.generator(seed, "closeness", name).permutation(sorted(rows["user_id"].unique()))[:count]
        real[name] = _rows(rows, users.tolist(), items)
    made = pd.DataFrame(pairs)
    synthetic = _rows(made, list(made["user_id"].unique()), items)
    return {
        "users": float(len(synthetic)),
        "real": float(count),
        "dcr_share": dcr_share(synthetic, real["training"], real["holdout"]),
        "nndr_share": nndr_share(synthetic, real["training"], real["holdout"]),
        "nndr": float(np.median(nndr(synthetic, real["training"]))),
    }


def _rows(pairs: pd.DataFrame, users: Sequence[str], items: pd.Index) -> Vectors:
    return unit((pairs_matrix(pairs, pd.Index(users), items) > 0).toarray().astype(np.float32))


def table(found: Mapping[str, float]) -> str:
    return (
        f"{found['users']:.0f} invented users, {found['real']:.0f} real ones on each side\n"
        f"nearer to a training user than to one left out: {found['dcr_share']:.1%} (50 % where nothing was memorised)\n"
        f"the same by the ratio to the second nearest: {found['nndr_share']:.1%}\n"
        f"median of that ratio: {found['nndr']:.3f} (near 0: a copy of one user)\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.closeness", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("split", type=Path)
    parser.add_argument("kept", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        split = read_split(given.split)
        found = invented_users(read_arm("synthetic", given.kept, split).samples, split, given.seed)
    except LlmAugError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(found, indent=1) + "\n" if given.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
