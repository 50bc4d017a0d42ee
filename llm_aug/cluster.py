"""Which Ray cluster a model or an encoder runs on; a file without heavy imports, for configuration and command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """address: 'local' starts one on this machine, on the loopback interface alone; else 'auto' or host:port.

    workers: None for as many as there are GPUs for, or one per node where they take none; the CPUs of a node are
    shared among its workers. gpus: of each worker; None for 1 where the cluster has any.
    """

    address: str = "local"
    workers: int | None = None
    gpus: float | None = None
