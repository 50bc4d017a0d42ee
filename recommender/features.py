"""What the students know of an item's text: sparse TF-IDF rows and dense vectors, the same for every student."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from llm_aug.data import Dataset, item_texts
from llm_aug.vectors import Cached, Encoder, load_encoder, unit

Idf = NDArray[np.float64]


def term_vectors(dataset: Dataset) -> csr_matrix:
    """Unit TF-IDF rows, words in at most half of the items and in at least two: [items, terms]."""
    return _terms(tuple(item_texts(dataset)))[0]


def vocabulary(dataset: Dataset) -> tuple[pd.Index, Idf]:
    """The words of the columns of `term_vectors` and their inverse document frequencies, for texts to come."""
    return _terms(tuple(item_texts(dataset)))[1:]


def new_term_vectors(texts: Sequence[str], words: pd.Index, idf: Idf) -> csr_matrix:
    """Unit TF-IDF rows by the vocabulary of a fitted catalogue, other words left out: [len(texts), terms]."""
    shape = len(texts), max(len(words), 1)
    analyse = TfidfVectorizer(stop_words="english").build_analyzer()
    found = sorted({word for text in texts for word in analyse(text)})
    places = words.get_indexer(pd.Index(found))
    own = [word for word, place in zip(found, places, strict=True) if place >= 0]
    if not own:
        return csr_matrix(shape, dtype=np.float32)
    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english", vocabulary=own)  # all words: 30 ms a call
    columns = places[places >= 0]
    vectorizer.idf_ = idf[columns]
    rows = csr_matrix(vectorizer.transform(texts), dtype=np.float32)
    return csr_matrix((rows.data, columns[rows.indices], rows.indptr), shape=shape)


def sentence_vectors(dataset: Dataset, encoder: str) -> NDArray[np.float32]:
    """Unit rows of the named encoder, cached on disk by content: [items, d]."""
    return _sentences(tuple(item_texts(dataset)), encoder)


def dense_vectors(dataset: Dataset, encoder: str, lexical_dimensions: int = 256) -> NDArray[np.float32]:
    """Sentence vectors beside TF-IDF projected by truncated SVD (LSA): [items, d + lexical_dimensions or fewer]."""
    texts = tuple(item_texts(dataset))
    return np.hstack([_sentences(texts, encoder), _lexical(texts, lexical_dimensions)[0]])


def lexical_components(dataset: Dataset, lexical_dimensions: int = 256) -> NDArray[np.float32]:
    """The SVD of `dense_vectors`: [lexical_dimensions, terms]; without rows where the terms are few and stay."""
    return _lexical(tuple(item_texts(dataset)), lexical_dimensions)[1]


def new_sentence_vectors(texts: Sequence[str], encoder: str) -> NDArray[np.float32]:
    """Unit rows [len(texts), d]. Raises InputError for an encoder that was fitted on the catalogue, as tfidf is."""
    return _loaded(encoder).encode(texts)


def new_dense_vectors(
    texts: Sequence[str], encoder: str, words: pd.Index, idf: Idf, components: NDArray[np.float32]
) -> NDArray[np.float32]:
    """As `dense_vectors`, by the vocabulary and the projection of a fitted catalogue: [len(texts), as wide]."""
    terms = new_term_vectors(texts, words, idf)
    lexical = terms @ components.T if len(components) else terms.toarray()
    return np.hstack([new_sentence_vectors(texts, encoder), unit(lexical)])


# An experiment fits dozens of students on the same texts; the projection alone takes longer than most of them.
@lru_cache(maxsize=4)
def _terms(texts: tuple[str, ...]) -> tuple[csr_matrix, pd.Index, Idf]:
    for rare in (2, 1):
        try:
            vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=rare, max_df=0.5, stop_words="english")
            terms = csr_matrix(vectorizer.fit_transform(texts), dtype=np.float32)
            return terms, pd.Index(vectorizer.get_feature_names_out()), vectorizer.idf_
        except ValueError:  # a catalogue of a few items may share no word, or share them all
            continue
    return csr_matrix((len(texts), 1), dtype=np.float32), pd.Index([], dtype=object), np.zeros(0)


@lru_cache(maxsize=4)
def _lexical(texts: tuple[str, ...], dimensions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows, and the components that project terms onto them."""
    terms = _terms(texts)[0]
    if terms.shape[1] <= dimensions:
        return unit(terms.toarray()), np.zeros((0, terms.shape[1]), dtype=np.float32)
    svd = TruncatedSVD(dimensions, n_iter=3, random_state=0)
    return unit(svd.fit_transform(terms)), svd.components_


@lru_cache(maxsize=4)
def _sentences(texts: tuple[str, ...], encoder: str) -> NDArray[np.float32]:
    return Cached(load_encoder(encoder, texts)).encode(texts)


@lru_cache(maxsize=2)
def _loaded(encoder: str) -> Encoder:
    return load_encoder(encoder)


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
