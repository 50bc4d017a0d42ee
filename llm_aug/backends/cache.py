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
    """keys, values: views [rows, heads, columns, width] of stores that hold more rows and columns than are in use."""

    stores: tuple[Tensor, ...]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        rows, _, new, _ = key_states.shape
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.stores = _store(key_states, rows, new + ROOM), _store(value_states, rows, new + ROOM)
            self._view(rows, 0)
        columns = self.get_seq_length()
        if not self.fits(rows, columns + new):
            self.reserve(rows, columns + new)
        for store, states in zip(self.stores, (key_states, value_states), strict=True):
            store[:rows, :, columns : columns + new] = states
        self._view(rows, columns + new)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.keys.shape[2] if self.is_initialized else 0

    @property
    def rows(self) -> int:
        """How many rows there is room for."""
        return self.stores[0].shape[0]

    def fits(self, rows: int, columns: int) -> bool:
        return rows <= self.rows and columns <= self.stores[0].shape[2]

    def reserve(self, rows: int, columns: int, dropped: int = 0, shift: int = 0) -> None:
        """New stores with room for so many; what is there loses columns on the left, or moves to the right."""
        keys, values = (used[:, :, dropped:] for used in (self.keys, self.values))
        columns += columns // 4 + ROOM
        self.stores = _store(keys, rows, columns), _store(values, rows, columns)
        for store, used in zip(self.stores, (keys, values), strict=True):
            store[: len(used), :, :shift] = 0  # masked, but what is masked must not be NaN
            store[: len(used), :, shift : shift + used.shape[2]] = used
        self._view(len(keys), shift + keys.shape[2])

    def batch_select_indices(self, indices: Tensor) -> None:
        columns, alone = self.get_seq_length(), len(self.keys) == 1
        chosen = [used if alone else used[indices] for used in (self.keys, self.values)]
        self.stores = tuple(_store(used, len(indices), columns + ROOM) for used in chosen)
        for store, used in zip(self.stores, chosen, strict=True):
            store[:, :, :columns] = used
        self._view(len(indices), columns)

    def thin(self, rows: int, moved: Sequence[tuple[int, int]]) -> None:
        """The first `rows` rows stay; before that, each (place, row) puts a later row into a place among them."""
        for place, row in moved:
            for used in (self.keys, self.values):
                used[place] = used[row]
        self._view(rows, self.get_seq_length())

    def join(self, other: RoomyLayer) -> None:
        """Puts the other's rows below, their last column under the last one here; there is room for them."""
        (rows, _, columns, _), (more, _, theirs, _) = self.keys.shape, other.keys.shape
        for store, states in zip(self.stores, (other.keys, other.values), strict=True):
            store[rows : rows + more, :, : columns - theirs] = 0  # as above
            store[rows : rows + more, :, columns - theirs : columns] = states
        self._view(rows + more, columns)

    def _view(self, rows: int, columns: int) -> None:
        self.keys, self.values = (store[:rows, :, :columns] for store in self.stores)


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
