"""The content tower: two towers in which an item is its text alone."""

from __future__ import annotations

import numpy as np

from llm_aug.data import Dataset, Split
from recommender import make_student

OPTIONS = {"encoder": "hash:64", "dimensions": 16, "epochs": 4}


def test_items_of_one_text_score_alike_whatever_their_history(tastes: Split) -> None:
    """i0 and i4 get one title; the two towers tell them apart by their users, the content tower cannot."""
    items = tastes.items.assign(title=tastes.items["title"].replace({"sweet red fruit juice number4": "fruit"}))
    items["title"] = items["title"].replace({"sweet red fruit juice number0": "fruit"})
    rows = [list(items["item_id"]).index(item) for item in ("i0", "i4")]
    users = sorted(set(tastes.train["user_id"]))
    spread = {}
    for name in ("content-tower", "two-tower"):
        scores = make_student(name, OPTIONS).fit(Dataset(items, tastes.train)).scores(users)[:, rows]
        spread[name] = float(np.abs(scores[:, 0] - scores[:, 1]).max())
    assert spread["content-tower"] < 1e-4
    assert spread["two-tower"] > 0.01


def test_tuning_leaves_the_embeddings_off() -> None:
    model = make_student("content-tower", {})
    assert model.id_dropout == 1.0  # type: ignore[attr-defined]
    assert "id_dropout" not in model.SPACE
    assert model.SPACE
