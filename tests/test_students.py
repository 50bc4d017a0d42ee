"""What single students must do beyond what all of them must: formulas of papers, missing libraries, mixtures."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from students import column, fit, users_of, with_pairs

from llm_aug.data import Split
from llm_aug.errors import Unavailable
from recommender.ease import EASE
from recommender.matrix import to_log


def test_ials_without_its_library_names_the_extra(tastes: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(Unavailable, match=r"llm-aug\[baselines\]"):
        fit("ials", tastes.training)


def test_ials_does_not_warn_of_blas_threads(tastes: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    import implicit.utils
    from threadpoolctl import threadpool_limits

    monkeypatch.setattr(implicit.utils, "_checked_blas_config", False)  # it warns once per process
    with warnings.catch_warnings(), threadpool_limits(2, "blas"):
        warnings.simplefilter("error")
        fit("ials", tastes.training)


def test_ease_is_the_formula(tastes: Split) -> None:
    """B = I - P diag(P)^-1, P = (X'X + l2 I)^-1, over the whole catalogue in double precision."""
    data, users, l2 = with_pairs(tastes, [("u0", "i0"), ("u1", "i1")], 0.5), users_of(tastes), 5.0
    X = to_log(data).matrix.toarray().astype(float)
    P = np.linalg.inv(X.T @ X + l2 * np.eye(X.shape[1]))
    B = np.eye(len(P)) - P / np.diag(P)
    np.fill_diagonal(B, 0)
    np.testing.assert_allclose(EASE(l2).fit(data).scores(users), X @ B, atol=1e-5)


def test_popularity_adds_up_weights(tastes: Split) -> None:
    item = tastes.cold_items[0]
    model = fit("popularity", with_pairs(tastes, [("u1", item), ("u2", item)], 0.25))
    assert model.scores(["u1"])[0, column(tastes, item)] == 0.5
    first = tastes.train["item_id"].iloc[0]
    assert model.scores(["u1"])[0, column(tastes, first)] == (tastes.train["item_id"] == first).sum()


def test_fusion_trains_its_content_models_on_real_rows_alone(tastes: Split) -> None:
    pairs = [(user, tastes.cold_items[0]) for user in users_of(tastes)[:6]]
    real, merged = fit("fusion", tastes.training), fit("fusion", with_pairs(tastes, pairs))
    users = users_of(tastes)
    for part in ("towers", "knn"):
        assert np.array_equal(getattr(real, part).scores(users), getattr(merged, part).scores(users))
    assert merged.known.sum() == real.known.sum() + 1  # type: ignore[attr-defined]


def test_fusion_can_leave_what_merged_rows_say_of_cold_items_aside(tastes: Split) -> None:
    pairs = [("u0", item) for item in tastes.cold_items]
    merged, users = fit("fusion", with_pairs(tastes, pairs)), ["u0", "u1"]
    cold = tastes.items["item_id"].isin(tastes.cold_items).to_numpy()
    without = next(one for one in merged.variants() if one.cold_collaborative == 0)  # type: ignore[attr-defined]
    real = fit("fusion", tastes.training)
    for name in ("weight", "cold_factor", "knn_weight"):
        setattr(real, name, getattr(without, name))
    assert np.array_equal(without.scores(users)[:, cold], real.scores(users)[:, cold])
    assert not np.array_equal(without.scores(users)[:, ~cold], real.scores(users)[:, ~cold])


def test_variants_of_fusion_score_as_models_of_their_own(tastes: Split) -> None:
    model = fit("fusion", tastes.training)
    variant = list(model.variants())[7]
    for name in ("weight", "cold_factor", "knn_weight", "cold_collaborative"):
        setattr(model, name, getattr(variant, name))
    assert np.array_equal(variant.scores(["u0", "u3"]), model.scores(["u0", "u3"]))
    assert np.array_equal(variant.scores(["u3"]), model.scores(["u3"]))
