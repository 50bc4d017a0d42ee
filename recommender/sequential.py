"""Recurrent and self-attentive models of ordered histories: GRU4Rec (Hidasi et al. 2016), SASRec (Kang, McAuley 2018).

score(u, i) = <state of u after his last item, z_i> / (|.| |.| temperature), where z_i is the item's text through a
linear map plus an embedding of its own that is dropped at random in training, as in `two-tower`: items without history
are ranked by their text. Each next item is learned by softmax over all items with history, its loss times its weight;
as an input an item is scaled by its weight. A user without history has the state that every history starts from.

Rows are ordered by time, rows of equal time by id. A row without time gets a drawn place among the user's rows, so a
log without times has a drawn order: the same whatever the order of its rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, embedding, layer_norm, normalize, relu
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from llm_aug import seeds
from llm_aug.data import Dataset
from recommender.features import dense_vectors
from recommender.live import history_rows
from recommender.matrix import to_log
from recommender.search_space import Range, SearchSpace
from recommender.sequences import History, Windows, histories, steps, windows
from recommender.training import dropout, minimise, projection

AT_ONCE = 256


@dataclass
class _Sequential(ABC):
    """max_length: items that the state after them has seen."""

    encoder: str = "minilm"
    dimensions: int = 64
    max_length: int = 50
    id_dropout: float = 0.5
    dropout: float = 0.2
    temperature: float = 0.1
    epochs: int = 10
    batch_size: int = 16
    learning_rate: float = 5e-3
    seed: int = 0
    SPACE: ClassVar[SearchSpace] = {
        "dropout": Range(0.0, 0.5),
        "id_dropout": Range(0.2, 0.8),
        "temperature": Range(0.05, 0.3, log=True),
        "learning_rate": Range(0.001, 0.01, log=True),
        "epochs": (5, 10, 20),
    }
    NAME: ClassVar[str]  # under which it draws

    @abstractmethod
    def _network(self, generator: torch.Generator) -> torch.nn.Module:
        """Of inputs [sequences, length, dimensions], a dropout rate and a generator; states of the same shape."""

    def fit(self, dataset: Dataset) -> Self:
        generator = seeds.torch_generator(self.seed, self.NAME)
        network = self._network(generator)
        log = to_log(dataset)
        entire = histories(dataset, log.users, log.items, self.seed)
        self.users, self.items = log.users, log.items
        self.item_vectors, self.start = _learned(dataset, entire, self, network, generator)
        self.weights = parameters_to_vector(network.parameters()).detach().numpy()
        self.user_vectors = self._states(entire)
        return self

    def scores(self, users: Sequence[str]) -> NDArray[np.float32]:
        return self._scores(self.user_vectors[self.users.get_indexer(pd.Index(users))])

    def fold_in(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        known = history_rows(histories, self.items).shape[1]  # refuses an item that is not known
        places = [self.items.get_indexer(pd.Index(list(dict.fromkeys(history)))) for history in histories]
        ones = [np.ones(len(own) + 1, np.float32) for own in places]
        return self._scores(
            self._states([History(np.append(known, own), w) for own, w in zip(places, ones, strict=True)])
        )

    def _scores(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(states @ self.item_vectors.T / self.temperature, dtype=np.float32)

    def _states(self, entire: Sequence[History]) -> NDArray[np.float32]:
        """The last ones, as unit rows: [len(entire), d]."""
        generator = seeds.torch_generator(self.seed, self.NAME)  # draws first weights, which are written over
        network, table = self._network(generator), torch.from_numpy(np.vstack([self.item_vectors, self.start]))
        vector_to_parameters(torch.from_numpy(self.weights), network.parameters())
        ends = [one[-self.max_length :] for one in entire]
        parts = [ends[at : at + AT_ONCE] for at in range(0, len(ends), AT_ONCE)]
        states = [np.empty((0, self.dimensions), np.float32)]
        with torch.no_grad():
            for part in parts:
                found = network(_inputs(table, windows(part, self.max_length)), 0, generator)
                last = torch.tensor([len(end.items) - 1 for end in part])
                states.append(normalize(found[torch.arange(len(part)), last], dim=1).numpy())
        return np.concatenate(states)

    def variants(self) -> Iterable[Self]:
        return (self,)


@dataclass
class GRU4Rec(_Sequential):
    """One layer of gated recurrent units."""

    NAME: ClassVar[str] = "gru"

    def _network(self, generator: torch.Generator) -> torch.nn.Module:
        return Recurrent(self.dimensions, self.max_length, generator)


@dataclass
class SASRec(_Sequential):
    """Blocks of causal self-attention with one head and learned positions."""

    blocks: int = 2
    NAME: ClassVar[str] = "sasrec"

    def _network(self, generator: torch.Generator) -> torch.nn.Module:
        return Attentive(self, generator)


def _learned(
    dataset: Dataset,
    entire: Sequence[History],
    options: _Sequential,
    network: torch.nn.Module,
    generator: torch.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors of items [items, d] and of the start of a history [1, d]."""
    inputs, targets = (
        windows(part, options.max_length) for part in zip(*steps(entire, options.max_length), strict=True)
    )
    items = _Items(torch.from_numpy(dense_vectors(dataset, options.encoder)), options, generator)
    touched = to_log(dataset).warm
    warm, column = torch.from_numpy(np.flatnonzero(touched)), torch.from_numpy(np.cumsum(touched) - 1)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        """Weighted mean over the places of -log softmax of the next item among all items with history."""
        rows, vectors = batch.numpy(), items(drop=True)
        states = network(_inputs(items.table(vectors), inputs[rows]), options.dropout, generator)
        place = torch.from_numpy(np.flatnonzero(targets.weights[rows]))
        flat = normalize(embedding(place, states.flatten(0, 1)), dim=1)
        logits = flat @ embedding(warm, vectors).T / options.temperature
        target, weight = (torch.from_numpy(part[rows].ravel())[place] for part in (targets.items, targets.weights))
        return (cross_entropy(logits, column[target], reduction="none") * weight).sum() / weight.sum()

    def mass(batch: torch.Tensor) -> float:
        return float(targets.weights[batch.numpy()].sum())

    minimise(loss, [*items.parameters(), *network.parameters()], len(inputs.items), options, generator, mass=mass)
    with torch.no_grad():
        table = items.table(items(drop=False)).numpy()
    return table[:-1], table[-1:]


def _inputs(table: torch.Tensor, windows: Windows) -> torch.Tensor:
    """[windows, length, d]; zero after the end of a window.

    embedding, not indexing: the gradient of indexing adds up in the order in which threads come.
    """
    return embedding(torch.from_numpy(windows.items), table) * torch.from_numpy(windows.weights)[:, :, None]


class _Items(torch.nn.Module):
    """Unit vectors of the catalogue, and the vector that histories start with."""

    def __init__(self, features: torch.Tensor, options: _Sequential, generator: torch.Generator) -> None:
        super().__init__()
        self.features, self.generator, self.id_dropout = features, generator, options.id_dropout
        self.text = projection(features.shape[1], options.dimensions, generator)
        self.identity = torch.nn.Parameter(torch.zeros(len(features), options.dimensions))
        self.start = projection(1, options.dimensions, generator)

    def forward(self, drop: bool) -> torch.Tensor:
        """[items, dimensions]; with drop, some items by their text alone."""
        kept = torch.rand(len(self.features), 1, generator=self.generator) >= self.id_dropout if drop else 1
        return normalize(self.features @ self.text + kept * self.identity, dim=1)

    def table(self, items: torch.Tensor) -> torch.Tensor:
        """With the start of a history as the last row: [items + 1, dimensions]."""
        return torch.cat([items, normalize(self.start, dim=1)])


class Recurrent(torch.nn.Module):
    """[sequences, length, d] -> the same shape; a state depends on inputs up to its place alone.

    It starts as a leaky mean of the inputs, which text alone makes useful: candidates are the inputs, and the bias of
    the update gates is the log of a uniform draw up to `length` (chrono initialisation, Tallec and Ollivier 2018).
    """

    def __init__(self, d: int, length: int, generator: torch.Generator) -> None:
        super().__init__()
        self.cell = torch.nn.GRU(d, d, batch_first=True, device="meta").to_empty(device="cpu")
        spans = 1 + torch.rand(d, generator=generator) * max(length - 1, 1)
        with torch.no_grad():
            drawn = dict(self.cell.named_parameters())
            for weight in drawn.values():
                weight.uniform_(-0.1 * d**-0.5, 0.1 * d**-0.5, generator=generator)
            drawn["weight_ih_l0"][2 * d :] = torch.eye(d)  # rows: reset, update, candidate
            drawn["bias_ih_l0"][d : 2 * d] = spans.log()

    def forward(self, inputs: torch.Tensor, rate: float, generator: torch.Generator) -> torch.Tensor:
        states: torch.Tensor = self.cell(dropout(inputs, rate, generator))[0]
        return states


class Attentive(torch.nn.Module):
    """As Recurrent. It starts as the last input plus the mean of all so far."""

    def __init__(self, options: SASRec, generator: torch.Generator) -> None:
        super().__init__()
        self.position = torch.nn.Parameter(torch.zeros(options.max_length, options.dimensions))
        self.blocks = torch.nn.ModuleList(_Block(options.dimensions, generator) for _ in range(options.blocks))

    def forward(self, inputs: torch.Tensor, rate: float, generator: torch.Generator) -> torch.Tensor:
        d = inputs.shape[2]
        states = dropout(inputs * d**0.5 + self.position, rate, generator)
        for block in self.blocks:
            states = block(states, rate, generator)
        return layer_norm(states, (d,))


class _Block(torch.nn.Module):
    """Norms stand before attention and feed-forward layer and have no gain of their own.

    At the start values are the inputs, and the feed-forward layer adds nothing.
    """

    def __init__(self, d: int, generator: torch.Generator) -> None:
        super().__init__()
        self.query, self.key, self.inner = (projection(d, d, generator) for _ in range(3))
        self.value, self.outer = torch.nn.Parameter(torch.eye(d)), torch.nn.Parameter(torch.zeros(d, d))

    def forward(self, states: torch.Tensor, rate: float, generator: torch.Generator) -> torch.Tensor:
        length, d = states.shape[1:]
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        normed = layer_norm(states, (d,))
        logits = (normed @ self.query) @ (normed @ self.key).mT / d
        attention = dropout(logits.masked_fill(future, -torch.inf).softmax(dim=-1), rate, generator)
        states = states + dropout(attention @ (normed @ self.value), rate, generator)
        return states + dropout(relu(layer_norm(states, (d,)) @ self.inner) @ self.outer, rate, generator)
