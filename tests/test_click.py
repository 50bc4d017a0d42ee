"""The click models' features are their definitions, and no training row knows its target."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from llm_aug import seeds
from llm_aug.data import Split
from recommender.click import Linear, Logistic, _drawn, _only, training_rows
from recommender.click_features import FEATURES, Filters, Texts, as_cold, pair_features
from recommender.features import z_scores
from recommender.matrix import to_log


@pytest.fixture(scope="module")
def matrix() -> csr_matrix:
    """12 users, 9 items of which the last has no history; weights are 1, but that of (0, 0), which is 0.5."""
    dense = (np.random.default_rng(0).random((12, 9)) < 0.5).astype(np.float32)
    dense[:, 8], dense[0, 0], dense[11] = 0, 0.5, 0
    return csr_matrix(dense)


@pytest.fixture(scope="module")
def texts() -> Texts:
    random = np.random.default_rng(1)
    terms = random.random((9, 5)).astype(np.float32)
    return Texts(csr_matrix(terms), random.normal(size=(9, 4)).astype(np.float32))


def named(features: np.ndarray, name: str) -> np.ndarray:
    return features[..., FEATURES.index(name)]


def test_features_are_their_definitions(matrix: csr_matrix, texts: Texts) -> None:
    dense, terms = matrix.toarray().astype(float), texts.terms.toarray().astype(float)
    users, items = dense.sum(1), dense.sum(0)
    found = pair_features(matrix, texts, Filters.of(matrix, 3))
    profile = dense / np.maximum(users, 1e-9)[:, None]
    np.testing.assert_allclose(named(found, "lexical"), z_scores(profile @ terms @ terms.T), atol=1e-4)
    np.testing.assert_allclose(named(found, "semantic"), z_scores(profile @ texts.vectors @ texts.vectors.T), atol=1e-4)
    R = dense[:11, :8] / np.sqrt(np.outer(users[:11], items[:8]))
    np.testing.assert_allclose(named(found, "neighbours")[:11, :8], z_scores(dense[:11, :8] @ R.T @ R), atol=1e-4)
    V = np.linalg.svd(R)[2][:3].T
    smooth = dense[:11, :8] / np.sqrt(items[:8]) @ V @ V.T * np.sqrt(items[:8])
    np.testing.assert_allclose(named(found, "spectral")[:11, :8], z_scores(smooth), atol=1e-3)
    np.testing.assert_allclose(named(found, "popularity")[3], np.log1p(items), rtol=1e-5)
    np.testing.assert_allclose(named(found, "history")[:, 0], np.log1p(users), rtol=1e-5)
    np.testing.assert_allclose(named(found, "coldness")[3], 1 / (1 + items), rtol=1e-5)
    np.testing.assert_allclose(
        named(found, "cold_lexical"), named(found, "lexical") * named(found, "coldness"), rtol=1e-5
    )


def test_an_item_without_history_looks_as_any_item_made_cold(matrix: csr_matrix, texts: Texts) -> None:
    found = pair_features(matrix, texts, Filters.of(matrix, 3))
    np.testing.assert_array_equal(as_cold(found)[:, 8], found[:, 8])
    made = as_cold(found)[:, 0]
    assert not named(made, "neighbours").any()
    assert not named(made, "popularity").any()
    np.testing.assert_array_equal(named(made, "lexical"), named(found[:, 0], "lexical"))


def test_a_positive_row_has_the_features_of_a_log_without_it(matrix: csr_matrix, texts: Texts) -> None:
    rows = training_rows(matrix, texts, Linear(rank=3, folds=3, negatives=0))
    fold = seeds.generator(0, "click").integers(3, size=matrix.nnz)
    expected = []
    for number in range(3):
        rest, held = _only(matrix, fold != number), _only(matrix, fold == number)
        expected.append(pair_features(rest, texts, Filters.of(rest, 3))[held.tocoo().coords])
        expected.append(as_cold(expected[-1]))
    np.testing.assert_array_equal(rows.features[2:], np.concatenate(expected))
    assert rows.clicked[1:].all()


def test_a_fold_takes_its_pairs_out_of_the_log(matrix: csr_matrix) -> None:
    mask = np.arange(matrix.nnz) % 2 == 0
    even, odd = _only(matrix, mask), _only(matrix, ~mask)
    assert even.nnz + odd.nnz == matrix.nnz
    np.testing.assert_array_equal((even + odd).toarray(), matrix.toarray())


def test_negatives_are_items_with_history_that_the_user_has_nowhere(matrix: csr_matrix) -> None:
    held = _only(matrix, np.arange(matrix.nnz) % 2 == 0)
    row, item, clicked, weights = _drawn(matrix, held, np.arange(8), 20, np.random.default_rng(0))
    dense = matrix.toarray()
    assert (dense[row, item][clicked == 1] == weights[clicked == 1]).all()
    assert not dense[row, item][clicked == 0].any()
    assert set(item[clicked == 0]) == set(range(8))
    assert weights[(clicked == 0) & (row == 0)].min() == 0.5  # of the pair that they were drawn for


def test_the_weight_of_a_pair_is_that_of_its_rows(matrix: csr_matrix, texts: Texts) -> None:
    rows = training_rows(matrix, texts, Linear(rank=3, folds=3, negatives=0))
    assert sorted(rows.weights)[:3] == [0.5, 0.5, 1]  # the pair as it is, and as if cold


def test_the_bonus_raises_items_by_their_coldness_alone(tastes: Split) -> None:
    model = Logistic("hash:16", rank=4, folds=2).fit(tastes.training)
    *_, raised = model.variants()
    rise = raised.scores(["u1"])[0] - model.scores(["u1"])[0]
    sums = np.asarray(to_log(tastes.training).matrix.sum(axis=0)).ravel()
    np.testing.assert_allclose(rise, raised.cold_bonus * model.spread / (1 + sums), atol=1e-5)
