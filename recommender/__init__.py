"""What we want to improve: one file per student behind one protocol, and the one table that names them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from llm_aug.data import Dataset
from llm_aug.registry import check_options, named
from recommender.search_space import SearchSpace

STUDENTS = {
    "popularity": "recommender.popularity:Popularity",
    "content": "recommender.content:ContentKNN",
    "ials": "recommender.ials:IALS",
    "ease": "recommender.ease:EASE",
    "two-tower": "recommender.embedding:TwoTower",
    "content-tower": "recommender.content_tower:ContentTower",
    "fusion": "recommender.fusion:Fusion",
    "bpr": "recommender.bpr:BPR",
    "lightgcn": "recommender.lightgcn:LightGCN",
    "mf": "recommender.factors:MatrixFactorization",
    "mlp": "recommender.click:MLP",
    "logistic": "recommender.click:Logistic",
    "linear": "recommender.click:Linear",
    "autorec": "recommender.autoencoder:AutoRec",
    "mult-vae": "recommender.autoencoder:MultVAE",
    "gru": "recommender.sequential:GRU4Rec",
    "sasrec": "recommender.sequential:SASRec",
    "direct": "recommender.direct:Direct",
}
# What a verdict has where none are named; to tune all of them takes several times as long.
USUAL = ("popularity", "content", "ials", "ease", "two-tower", "fusion")


class Recommender(Protocol):
    """A dataclass whose fields are its options. SPACE: what tuning may choose of them by fitting anew.

    Synthetic interactions come in as rows with their weight; the same data and options give the same scores.
    """

    SPACE: ClassVar[SearchSpace]

    def fit(self, dataset: Dataset) -> Recommender: ...

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        """Higher is better: [len(users), items in catalogue order]. An unknown user gets finite scores, too."""

    def variants(self) -> Iterable[Recommender]:
        """This fitted model under every option that only changes scoring, so that tuning need not fit again.

        The first is the model as it is.
        """


def make_student(name: str, options: dict[str, Any], seed: int = 0) -> Recommender:
    """Raises InputError for an unknown student or option. The seed goes to students that draw random numbers."""
    make = named("student", name, STUDENTS)
    known = check_options(f"student {name!r}", options, make)
    student: Recommender = make(**{"seed": seed, **options} if "seed" in known else options)
    return student
