"""What the content tower adds, with a plain and a tuned encoder: python -m eval.bench.tower SPLIT [--tuned ENCODER]

As the funnel: AUC inside the pseudo-cold lists, NDCG@20 among the pseudo-cold items and among the cold ones. As
students on real data alone: NDCG@20 on test. ENCODER: of `llm-aug finetune SPLIT --task encoder`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.bench.report import start
from eval.ranking import GROUPS, Scorer, held_out, per_user
from llm_aug.candidates import FunnelOptions, find_candidates, make_funnel
from llm_aug.data import Dataset, Split
from llm_aug.funnel import Funnel, Space
from llm_aug.grade import auc_in_lists
from llm_aug.splits import read_split
from llm_aug.tuned_encoder import check_encoder
from recommender import make_student
from recommender.spaces import spaces

STUDENTS = ("content", "content-tower", "two-tower")


@dataclass(frozen=True)
class Preferences:
    """A funnel as a model to be ranked by."""

    funnel: Funnel

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        rows = pd.Index(self.funnel.user_ids).get_indexer(pd.Index(users))
        known = self.funnel.users[rows] * (rows >= 0)[:, None]
        return np.asarray(known @ self.funnel.items.T, dtype=np.float32)


def ndcg(model: Scorer, split: Split, groups: Sequence[str]) -> dict[str, float]:
    rows = per_user(model, held_out(split, "test"), (20,), 0, groups)
    return {name: float(value) for name, value in rows.groupby("group")["ndcg@20"].mean().items()}


def played_cold(split: Split, hidden: Dataset) -> Split:
    """The training rows as a split, of which those of the pseudo-cold items are the test."""
    warm, known = split.train["item_id"], set(hidden.interactions["item_id"])
    test = split.train[~warm.isin(known)].reset_index(drop=True)
    nothing = split.validation.iloc[:0]
    cold = tuple(sorted(test["item_id"].unique()))
    return replace(split, train=hidden.interactions, validation=nothing, test=test, cold_items=cold, withheld=nothing)


def funnels(split: Split, encoder: str, seed: int) -> None:
    """Fits both spaces on the log and on the log without the pseudo-cold items, once each."""
    fit, fitted = spaces(encoder, seed), dict[int, Sequence[Space]]()

    def both(dataset: Dataset) -> Sequence[Space]:
        pairs = len(dataset.interactions)
        if pairs not in fitted:
            fitted[pairs] = fit(dataset)
        return fitted[pairs]

    kinds: dict[str, Callable[[Dataset], Sequence[Space]]] = {"kNN": lambda data: both(data)[1:], "tower + kNN": both}
    for name, chosen in kinds.items():
        found = find_candidates(split.training, chosen, FunnelOptions(seed=seed))
        pseudo = Preferences(make_funnel(found.hidden, chosen(found.hidden), found.blend))
        cold = Preferences(make_funnel(split.training, chosen(split.training), found.blend))
        figures = {
            "AUC": auc_in_lists(found.pseudo, "preference"),
            "pseudo-cold": ndcg(pseudo, played_cold(split, found.hidden), ("cold",))["cold"],
            "cold": ndcg(cold, split, ("cold",))["cold"],
            "blend": found.blend,
        }
        told(f"funnel: {name}", encoder, figures)


def students(split: Split, encoder: str, seed: int) -> None:
    for name in STUDENTS:
        model = make_student(name, {"encoder": encoder}, seed).fit(split.training)
        told(name, encoder, ndcg(model, split, GROUPS))


def told(name: str, encoder: str, figures: dict[str, float]) -> None:
    cells = "  ".join(f"{key} {value:.3f}" for key, value in figures.items())
    sys.stdout.write(f"{name:20} {Path(encoder).name:12} {cells}\n")
    sys.stdout.flush()


def main(split: Path, tuned: list[Path] | None = None, encoder: str = "minilm", seed: int = 0) -> None:
    """seed: of the recipe by which the encoder was tuned, since it draws the pseudo-cold items."""
    found = read_split(split)
    for name in (encoder, *map(str, tuned or ())):
        check_encoder(name, found)
        funnels(found, name, seed)
        students(found, name, seed)


if __name__ == "__main__":
    start(main)
