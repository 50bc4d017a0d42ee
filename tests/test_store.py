"""A student that was saved and loaded ranks exactly as before, for known and for unknown users."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llm_aug.data import Dataset, tidy_interactions, tidy_items
from llm_aug.errors import InputError
from recommender import STUDENTS, make_student
from recommender.store import load, save

OPTIONS = {
    "content": {"encoder": "hash:16"},
    "two-tower": {"encoder": "hash:16", "epochs": 2, "dimensions": 8},
    "fusion": {"encoder": "hash:16"},
    "gru": {"encoder": "hash:16", "dimensions": 8, "epochs": 2},
    "sasrec": {"encoder": "hash:16", "dimensions": 8, "epochs": 2},
    "ials": {"factors": 4, "iterations": 2},
    "mlp": {"encoder": "hash:16", "rank": 2, "folds": 2, "hidden": 4, "epochs": 1},
    "logistic": {"encoder": "hash:16", "rank": 2, "folds": 2},
    "linear": {"encoder": "hash:16", "rank": 2, "folds": 2},
    "bpr": {"factors": 4, "epochs": 2},
    "lightgcn": {"dimensions": 4, "epochs": 2},
    "mf": {"factors": 2, "iterations": 2},
}


@pytest.fixture
def fruit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Six fruits, three users; u1's pear is synthetic, kiwi has no history."""
    monkeypatch.setenv("LLM_AUG_CACHE", str(tmp_path / "cache"))
    words = [
        "apple red round",
        "pear green long",
        "plum blue round",
        "lime green sour",
        "fig brown sweet",
        "kiwi green",
    ]
    items = tidy_items(pd.DataFrame({"item_id": [f"i{n}" for n in range(6)], "title": words}))
    pairs = [("u1", "i0"), ("u1", "i2"), ("u2", "i1"), ("u2", "i3"), ("u3", "i0"), ("u3", "i4"), ("u1", "i1")]
    log = pd.DataFrame(pairs, columns=["user_id", "item_id"]).assign(is_synthetic=[False] * 6 + [True])
    return Dataset(items, tidy_interactions(log))


@pytest.mark.parametrize("name", STUDENTS)
def test_scores_after_loading_equal_the_scores_before(name: str, fruit: Dataset, tmp_path: Path) -> None:
    model = make_student(name, OPTIONS.get(name, {})).fit(fruit)
    save(tmp_path / "model", name, model, fruit, "abc")
    stored = load(tmp_path / "model")
    users = ["u1", "u2", "u3", "nobody"]
    assert np.array_equal(stored.model.scores(users), model.scores(users))
    assert (stored.student, stored.split_hash) == (name, "abc")
    assert type(stored.model) is type(model)


def test_a_synthetic_pair_is_not_seen(fruit: Dataset, tmp_path: Path) -> None:
    save(tmp_path, "popularity", make_student("popularity", {}).fit(fruit), fruit)
    seen = load(tmp_path).seen
    assert seen.rows(["u1"]).toarray().astype(bool).tolist() == [[True, False, True, False, False, False]]


def test_every_variant_can_be_kept(fruit: Dataset, tmp_path: Path) -> None:
    variant = list(make_student("content", OPTIONS["content"]).fit(fruit).variants())[-1]
    save(tmp_path, "content", variant, fruit)
    assert np.array_equal(load(tmp_path).model.scores(["u2"]), variant.scores(["u2"]))


def test_an_array_of_objects_is_refused_before_anything_is_written(fruit: Dataset, tmp_path: Path) -> None:
    model = make_student("popularity", {}).fit(fruit)
    model.counts = np.array([object()])  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"model\.counts is a ndarray"):
        save(tmp_path, "popularity", model, fruit)
    assert not (tmp_path / "model.json").exists()


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.json is not there"):
        load(tmp_path)


def test_arrays_of_another_model_are_refused(fruit: Dataset, tmp_path: Path) -> None:
    for name in ("popularity", "ease"):
        save(tmp_path / name, name, make_student(name, {}).fit(fruit), fruit)
    (tmp_path / "ease" / "arrays.npz").replace(tmp_path / "popularity" / "arrays.npz")
    with pytest.raises(InputError, match="not the one"):
        load(tmp_path / "popularity")


def test_what_cannot_be_kept_is_named(fruit: Dataset, tmp_path: Path) -> None:
    model = make_student("popularity", {}).fit(fruit)
    model.extra = {1, 2}  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"model\.extra is a set"):
        save(tmp_path, "popularity", model, fruit)
