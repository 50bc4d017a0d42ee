"""LightGCN's graph and its layers are the formula's."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix

from recommender.lightgcn import normalised_graph, propagate

R = np.array([[1, 0.25, 0], [0, 1, 0]])  # two users, three items, the last without history


def test_the_graph_is_normalised_by_the_weighted_degrees_of_both_ends() -> None:
    graph = normalised_graph(csr_matrix(R)).toarray()
    np.testing.assert_allclose(graph, graph.T)
    np.testing.assert_allclose(graph[0, 2:], [1 / np.sqrt(1.25 * 1), 0.25 / np.sqrt(1.25 * 1.25), 0], rtol=1e-6)
    assert not graph[:2, :2].any()
    assert not graph[4].any()


def test_vectors_are_the_mean_over_the_layers() -> None:
    graph = normalised_graph(csr_matrix(R)).toarray()
    start = np.arange(10, dtype=np.float32).reshape(5, 2)
    found = propagate(torch.from_numpy(graph), torch.from_numpy(start), 2).numpy()
    np.testing.assert_allclose(found, (start + graph @ start + graph @ graph @ start) / 3, rtol=1e-5)
