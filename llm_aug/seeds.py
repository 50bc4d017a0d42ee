"""Randomness derived from (seed, stage, subject), so that no row depends on its neighbours or on the order of work."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that depends on the run seed and the parts alone, equal on every machine."""
    text = "\x1f".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 1


def generator(seed: int, *parts: str | int) -> np.random.Generator:
    return np.random.default_rng(derive(seed, *parts))
