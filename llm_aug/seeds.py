"""Randomness derived from (seed, stage, subject), so that no row depends on its neighbours or on the order of work."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


def derive(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that depends on the run seed and the parts alone, equal on every machine."""
    text = "\x1f".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 1


def generator(seed: int, *parts: str | int) -> np.random.Generator:
    return np.random.default_rng(derive(seed, *parts))


def torch_generator(seed: int, *parts: str | int) -> torch.Generator:
    """On the CPU whatever the device, so that a GPU gets the same draws."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *parts))


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64 (Steele, Lea and Flood 2014): near numbers become unlike ones."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
