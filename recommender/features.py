"""What the students know of an item's text: sparse TF-IDF rows and dense vectors, the same for every student."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from llm_aug.data import Dataset, item_texts
from llm_aug.vectors import Cached, load_encoder, unit


def term_vectors(dataset: Dataset) -> csr_matrix:
    """Unit TF-IDF rows, words in at most half of the items and in at least two: [items, terms]."""
    return _terms(tuple(item_texts(dataset)))


def sentence_vectors(dataset: Dataset, encoder: str) -> NDArray[np.float32]:
    """Unit rows of the named encoder, cached on disk by content: [items, d]."""
    return _sentences(tuple(item_texts(dataset)), encoder)


def dense_vectors(dataset: Dataset, encoder: str, lexical_dimensions: int = 256) -> NDArray[np.float32]:
    """Sentence vectors beside TF-IDF projected by truncated SVD (LSA): [items, d + lexical_dimensions or fewer]."""
    texts = tuple(item_texts(dataset))
    return np.hstack([_sentences(texts, encoder), _lexical(texts, lexical_dimensions)])


# An experiment fits dozens of students on the same texts; the projection alone takes longer than most of them.
@lru_cache(maxsize=4)
def _terms(texts: tuple[str, ...]) -> csr_matrix:
    for rare in (2, 1):
        try:
            vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=rare, max_df=0.5, stop_words="english")
            return csr_matrix(vectorizer.fit_transform(texts), dtype=np.float32)
        except ValueError:  # a catalogue of a few items may share no word, or share them all
            continue
    return csr_matrix((len(texts), 1), dtype=np.float32)


@lru_cache(maxsize=4)
def _lexical(texts: tuple[str, ...], dimensions: int) -> NDArray[np.float32]:
    terms = _terms(texts)
    if terms.shape[1] <= dimensions:
        return unit(terms.toarray())
    return unit(TruncatedSVD(dimensions, n_iter=3, random_state=0).fit_transform(terms))


@lru_cache(maxsize=4)
def _sentences(texts: tuple[str, ...], encoder: str) -> NDArray[np.float32]:
    return Cached(load_encoder(encoder, texts)).encode(texts)


def mean_rows(matrix: csr_matrix) -> csr_matrix:
    """Rows divided by their sums; empty rows stay empty."""
    sums = np.asarray(matrix.sum(axis=1), dtype=np.float32).ravel()
    return csr_matrix(diags(np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)) @ matrix)


def z_scores(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row with mean 0 and deviation 1; a constant row becomes zeros."""
    centred = scores - scores.mean(axis=1, keepdims=True, dtype=np.float64)
    spread = centred.std(axis=1, keepdims=True)
    varied = spread > 1e-6 * np.abs(scores).max(axis=1, keepdims=True)  # float32 holds no more than seven digits
    return np.asarray(np.divide(centred, spread, out=np.zeros_like(centred), where=varied), dtype=np.float32)
