"""Keys and values with room to grow: a token is written in place, a row leaves or joins without copying the others.

transformers' own cache concatenates: a token of 64 rows of 300 tokens costs it a copy of 64 * 300 * the model's width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 128  # columns; a store that is full grows by this and by a quarter of itself


class RoomyLayer(DynamicLayer):
    """keys, values: views [rows, heads, columns, width] of stores that hold more rows and columns than are in use.

    start: the store's column where the views begin; columns that nobody needs any more are left behind it.
    """

    stores: tuple[Tensor, ...]
    start: int

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        rows, _, new, _ = key_states.shape
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.stores = _store(key_states, rows, new + ROOM), _store(value_states, rows, new + ROOM)
            self._view(rows, 0, start=0)
        columns = self.get_seq_length()
        if not self.fits(rows, columns + new):
            self.reserve(rows, columns + new)
        self._view(rows, columns + new, self.start)
        self.keys[:, :, columns:], self.values[:, :, columns:] = key_states, value_states
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.keys.shape[2] if self.is_initialized else 0

    def fits(self, rows: int, columns: int) -> bool:
        return rows <= self.stores[0].shape[0] and self.start + columns <= self.stores[0].shape[2]

    def drop(self, columns: int) -> None:
        """Forgets these on the left."""
        self._view(self.keys.shape[0], self.keys.shape[2] - columns, self.start + columns)

    def cut(self, columns: int) -> None:
        """Forgets all after these."""
        self._view(self.keys.shape[0], columns, self.start)

    def reserve(self, rows: int, columns: int, shift: int = 0) -> None:
        """Makes room for so many, with some to spare; what is there moves `shift` columns to the right."""
        keys, values = self.keys, self.values
        if rows > self.stores[0].shape[0] or columns + ROOM // 4 > self.stores[0].shape[2]:
            rows, columns = rows + rows // 4, columns + columns // 4 + ROOM
            self.stores = _store(keys, rows, columns), _store(values, rows, columns)
        else:
            keys, values = keys.clone(), values.clone()  # a move within the stores: fresh memory costs more to touch
        self._view(len(keys), shift + keys.shape[2], start=0)
        for view, used in ((self.keys, keys), (self.values, values)):
            view[:, :, :shift] = 0  # masked, but what is masked must not be NaN
            view[:, :, shift:] = used

    def batch_select_indices(self, indices: Tensor) -> None:
        columns, alone = self.get_seq_length(), len(self.keys) == 1
        chosen = [used if alone else used[indices] for used in (self.keys, self.values)]
        self.stores = tuple(_store(used, len(indices), columns + ROOM) for used in chosen)
        self._view(len(indices), columns, start=0)
        self.keys[:], self.values[:] = chosen

    def thin(self, rows: int, moved: Sequence[tuple[int, int]]) -> None:
        """The first `rows` rows stay; before that, each (place, row) puts a later row into a place among them."""
        for place, row in moved:
            for used in (self.keys, self.values):
                used[place] = used[row]
        self._view(rows, self.get_seq_length(), self.start)

    def join(self, other: RoomyLayer) -> None:
        """Puts the other's rows below, their last column under the last one here; there is room for them."""
        rows, before = self.keys.shape[0], self.get_seq_length() - other.get_seq_length()
        self._view(rows + other.keys.shape[0], self.get_seq_length(), self.start)
        for used, new in ((self.keys, other.keys), (self.values, other.values)):
            used[rows:, :, :before] = 0  # as above
            used[rows:, :, before:] = new

    def _view(self, rows: int, columns: int, start: int) -> None:
        self.start = start
        self.keys, self.values = (store[:rows, :, start : start + columns] for store in self.stores)


def roomy(config: Any) -> DynamicCache:
    """An empty cache for a model; layers that forget (sliding windows, linear attention) stay as they are."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def thin(cache: Any, places: Sequence[int]) -> list[int]:
    """Keeps these rows, given in ascending order; the last ones take the places that became free. Returns the order."""
    free = sorted(set(range(len(places))).difference(places))
    moved = list(zip(free, (place for place in places if place >= len(places)), strict=True))
    order = list(range(len(places)))
    for place, row in moved:
        order[place] = row
    for layer in cache.layers:
        if isinstance(layer, RoomyLayer):
            layer.thin(len(order), moved)
        else:
            layer.batch_select_indices(torch.tensor(order, device=layer.keys.device))
    return order


def branched(cache: Any, rows: Sequence[int]) -> Any:
    """A cache of these rows, of which one may be named often; the old one stays as it is."""
    new = copy.copy(cache)
    new.layers = [copy.copy(layer) for layer in cache.layers]
    new.batch_select_indices(torch.tensor(rows, device=cache.layers[0].keys.device))
    return new


def _store(states: Tensor, rows: int, columns: int) -> Tensor:
    """Room that costs nothing until it is written: a view never shows a column that was not."""
    return torch.empty((rows, states.shape[1], columns, states.shape[3]), dtype=states.dtype, device=states.device)
