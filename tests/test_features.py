"""Vectors of items: of their terms, their sentences, and of items that came later."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix, vstack
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from llm_aug.data import Dataset, Split, item_texts, tidy_interactions, tidy_items
from llm_aug.vectors import unit
from recommender.features import (
    dense_vectors,
    lexical_components,
    mean_rows,
    new_dense_vectors,
    new_term_vectors,
    sentence_vectors,
    term_vectors,
    vocabulary,
    z_scores,
)


def test_z_scores_of_a_constant_row_are_zero() -> None:
    rows = np.stack([np.full(1000, 0.1), np.full(1000, 7.7), np.arange(1000), np.zeros(1000)]).astype(np.float32)
    scaled = z_scores(rows)
    assert scaled.dtype == np.float32
    assert (scaled[[0, 1, 3]] == 0).all()
    assert (scaled[2].mean(), scaled[2].std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))


def test_mean_rows_leaves_empty_rows_empty() -> None:
    assert mean_rows(csr_matrix([[1.0, 3.0], [0.0, 0.0]])).toarray().tolist() == [[0.25, 0.75], [0, 0]]


@pytest.mark.parametrize("titles", [["red car", "red car"], ["the", "of"], ["", ""], ["red", "blue"]])
def test_term_vectors_of_odd_catalogues(titles: list[str]) -> None:
    data = Dataset(tidy_items(pd.DataFrame({"item_id": ["a", "b"], "title": titles})), tidy_interactions(EMPTY))
    assert np.isfinite(term_vectors(data).toarray()).all()
    assert term_vectors(data).shape[0] == 2


EMPTY = pd.DataFrame({"user_id": [], "item_id": []})


def test_the_features_are_what_they_were_to_the_bit(tastes: Split) -> None:
    """Against the two scikit-learn calls that they stood for before they were split into fitting and transforming."""
    texts = item_texts(tastes.training)
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=0.5, stop_words="english")
    terms = csr_matrix(vectorizer.fit_transform(texts), dtype=np.float32)
    assert np.array_equal(term_vectors(tastes.training).toarray(), terms.toarray())
    lexical = unit(TruncatedSVD(4, n_iter=3, random_state=0).fit_transform(terms))
    expected = np.hstack([sentence_vectors(tastes.training, "hash:16"), lexical])
    assert np.array_equal(dense_vectors(tastes.training, "hash:16", 4), expected)


@pytest.mark.parametrize("dimensions", [4, 256])
def test_known_texts_are_transformed_into_their_rows(tastes: Split, dimensions: int) -> None:
    data, texts = tastes.training, item_texts(tastes.training)
    words, idf = vocabulary(data)
    assert np.array_equal(new_term_vectors(texts, words, idf).toarray(), term_vectors(data).toarray())
    again = new_dense_vectors(texts, "hash:16", words, idf, lexical_components(data, dimensions))
    np.testing.assert_allclose(again, dense_vectors(data, "hash:16", dimensions), atol=1e-6)


def test_a_catalogue_without_words_takes_items_without_directions() -> None:
    data = Dataset(tidy_items(pd.DataFrame({"item_id": ["a", "b"], "title": ["the", "of"]})), pd.DataFrame())
    rows = new_term_vectors(["red car"], *vocabulary(data))
    assert rows.shape == (1, term_vectors(data).shape[1])
    assert vstack([term_vectors(data), rows]).nnz == 0
