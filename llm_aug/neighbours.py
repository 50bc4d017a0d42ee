"""Exact nearest neighbours among unit vectors by FAISS; beyond EXACT_ROWS approximate ones whose recall is stated."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_aug.files import replacing

Vectors = NDArray[np.float32]
LOG = logging.getLogger(__name__)
EXACT_ROWS = 1_000_000  # among so many a query costs two cores what encoding its text costs (MiniLM): some 30 ms
RECALL, PROBED, FOUND = 0.99, 256, 10  # of the true FOUND nearest rows of PROBED rows, this share has to be found


def unit(vectors: NDArray[Any]) -> Vectors:
    """Rows [n, d] divided by their length; zero rows stay zero."""
    rows = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    divided: Vectors = np.divide(rows, length, out=np.zeros_like(rows), where=length != 0)
    return divided


def finite(vectors: Vectors) -> NDArray[np.bool_]:
    """[n], True where a row is a direction: every value finite and not all of them zero."""
    return np.asarray(np.isfinite(vectors).all(axis=1) & (vectors != 0).any(axis=1))


def spread(vectors: Vectors, most: int) -> Vectors:
    """At most `most` rows, evenly spaced: a sample that needs no draw."""
    return vectors[:: -(-len(vectors) // most) or 1]


class Index:
    """Neighbours among rows [n, d], by inner product; zero rows score 0.

    FAISS answers a NaN query with the row number -1, which reads as "nothing is near". So a query that is not
    `finite`, or a base row with a NaN or infinity, is refused with ValueError: mask them first.

    exact: None chooses, exact up to EXACT_ROWS rows. recall: 1 where exact, else as measured on rows of the base, and
    logged. An approximate index (inverted lists, IVF) that does not reach RECALL by looking at a quarter of its lists
    gives way to the exact one. folder: where an approximate one is saved, and found again for the same rows; an exact
    one is not worth it, as adding vectors takes seconds per million.
    """

    def __init__(self, base: Vectors, exact: bool | None = None, folder: Path | None = None) -> None:
        import faiss

        if not np.isfinite(base).all():
            raise ValueError("a row of the base is not finite; mask them with finite() first")
        rows = np.ascontiguousarray(base, dtype=np.float32)
        flat = faiss.IndexFlatIP(rows.shape[1])
        flat.add(rows)
        self._rows, self.recall = flat, 1.0
        if not (len(rows) <= EXACT_ROWS if exact is None else exact):
            self._rows, self.recall = _inverted(rows, flat, folder)
            LOG.warning("neighbours among %d rows are approximate: recall@%d %.3f", len(rows), FOUND, self.recall)

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Scores, highest first, and row numbers, both [len(queries), min(k, n)]."""
        if not finite(queries).all():
            raise ValueError("a query is zero or not finite; mask them with finite() first")
        k = min(k, self._rows.ntotal)
        if k < 1 or not len(queries):
            return np.zeros((len(queries), max(k, 0)), np.float32), np.zeros((len(queries), max(k, 0)), np.int64)
        scores, rows = self._rows.search(np.ascontiguousarray(queries, dtype=np.float32), k)
        return scores, rows


def _inverted(rows: Vectors, flat: Any, folder: Path | None) -> tuple[Any, float]:
    """An IVF index that looks at as few lists as RECALL needs, and its recall; `flat` where those are too many."""
    import faiss

    path = None if folder is None else folder / f"{hashlib.sha256(rows.data).hexdigest()[:32]}.ivf"
    probes = spread(rows, PROBED)
    true = flat.search(probes, FOUND)[1]
    if path is not None and (saved := _read(path)) is not None and _recall(saved, probes, true) >= RECALL:
        return saved, _recall(saved, probes, true)
    lists = max(1, int(4 * len(rows) ** 0.5))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(rows.shape[1]), rows.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.train(spread(rows, 64 * lists))
    index.add(rows)
    index.nprobe = 4
    while index.nprobe <= lists // 4:
        if (recall := _recall(index, probes, true)) >= RECALL:
            if path is not None:
                with replacing(path) as place:
                    faiss.write_index(index, str(place))
            return index, recall
        index.nprobe *= 2
    return flat, 1.0


def _read(path: Path) -> Any:
    """None where there is no index, or one that cannot be read."""
    import faiss

    try:
        return faiss.read_index(str(path)) if path.is_file() else None
    except RuntimeError:
        return None


def _recall(index: Any, probes: Vectors, true: NDArray[np.int64]) -> float:
    """true: the FOUND nearest rows of each probe."""
    found = index.search(probes, FOUND)[1]
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(true, found, strict=True)]))


def nearest(queries: Vectors, base: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
    """`Index.search` of a base that is asked once, hence exact."""
    return Index(base, exact=True).search(queries, k)
