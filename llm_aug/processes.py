"""The processes of one launch (torchrun, accelerate launch), which train one model together; without a launcher one."""

from __future__ import annotations

import os


def count() -> int:
    return int(os.environ.get("WORLD_SIZE") or 1)


def rank() -> int:
    """0 for the one that writes. A RANK alone, without a number of processes, says nothing."""
    return int(os.environ.get("RANK") or 0) if count() > 1 else 0
