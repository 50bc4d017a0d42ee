"""What the students know of an item's text: sparse TF-IDF rows and dense vectors, the same for every student."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.feature_extraction.text import TfidfVectorizer

from llm_aug.data import Dataset, item_texts
from llm_aug.vectors import Cached, fit_tfidf, load_encoder


def term_vectors(dataset: Dataset) -> csr_matrix:
    """Unit TF-IDF rows, words in at most half of the items and in at least two: [items, terms]."""
    texts = item_texts(dataset)
    for rare in (2, 1):
        try:
            vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=rare, max_df=0.5, stop_words="english")
            return csr_matrix(vectorizer.fit_transform(texts), dtype=np.float32)
        except ValueError:  # a catalogue of a few items may share no word, or share them all
            continue
    return csr_matrix((len(texts), 1), dtype=np.float32)


def sentence_vectors(dataset: Dataset, encoder: str) -> NDArray[np.float32]:
    """Unit rows of the named encoder, cached on disk by content: [items, d]."""
    texts = item_texts(dataset)
    return Cached(load_encoder(encoder, texts)).encode(texts)


def dense_vectors(dataset: Dataset, encoder: str, lexical_dimensions: int = 256) -> NDArray[np.float32]:
    """Sentence vectors beside TF-IDF projected by LSA: [items, d + lexical_dimensions or fewer]."""
    lexical = fit_tfidf(item_texts(dataset), lexical_dimensions).encode(item_texts(dataset))
    return np.hstack([sentence_vectors(dataset, encoder), lexical])


def mean_rows(matrix: csr_matrix) -> csr_matrix:
    """Rows divided by their sums; empty rows stay empty."""
    sums = np.asarray(matrix.sum(axis=1), dtype=np.float32).ravel()
    return csr_matrix(diags(np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)) @ matrix)


def z_scores(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row with mean 0 and deviation 1; a constant row becomes zeros."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = scores.std(axis=1, keepdims=True)
    return np.asarray(np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-9), dtype=np.float32)
