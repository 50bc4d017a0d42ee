"""Which Ray cluster, and how much of it each worker takes; one of our own listens on the loopback interface alone."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from llm_aug.cluster import Cluster
from llm_aug.errors import InputError, Unavailable
from llm_aug.signals import STOPS

try:
    import ray
    from ray._private import ray_constants
except ImportError as missing:
    raise Unavailable("engine.ray needs the extra 'ray': pip install 'llm-aug[ray]'") from missing

STORE_BYTES = 2**28  # of a cluster of our own; what passes through it are prompts and answers
REACH_SECONDS = 10.0


def connect(address: str) -> None:
    """Raises Unavailable. Leaves a cluster alone that the host program has connected to."""
    if ray.is_initialized():
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # those of batches that nobody waits for any more
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    own: dict[str, Any] = {}
    if address == "local":
        own = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
        ray_constants.ENABLE_RAY_CLUSTER = False  # else it listens on every interface, whatever address it is given
    try:
        _reach(address)
        with _own_signals():
            ray.init(address, log_to_driver=False, logging_level="error", **own)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise Unavailable(f"no Ray cluster at {address!r} ({reason}); start one, or choose engine.ray=local") from error


def _reach(address: str) -> None:
    """Raises OSError at once where nobody listens; Ray would try for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself, and would end this process before its answers are written."""
    before = {number: signal.getsignal(number) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def shares(cluster: Cluster, nodes: Sequence[Mapping[str, float]]) -> tuple[int, int, float]:
    """How many workers, and the CPUs and GPUs of each: as many CPUs as let all of them fit on these nodes.

    Raises InputError where they do not fit with one CPU each.
    """
    gpus = float(any(node.get("GPU") for node in nodes)) if cluster.gpus is None else cluster.gpus

    def room(cpus: int) -> int:
        by_gpu = [int(node.get("GPU", 0) / gpus) if gpus else 1 << 30 for node in nodes]
        return sum(min(int(node.get("CPU", 0)) // cpus, most) for node, most in zip(nodes, by_gpu, strict=True))

    hosts = sum(node.get("CPU", 0) >= 1 for node in nodes)
    workers = cluster.workers or (room(1) if gpus else hosts)
    for cpus in range(int(max((node.get("CPU", 0) for node in nodes), default=0)), 0, -1):
        if workers and room(cpus) >= workers:
            return workers, cpus, gpus
    there = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
    raise InputError(
        f"the cluster ({there}) has no room for {workers or 'any'} workers of 1 CPU and {gpus:g} GPUs; "
        "lower engine.ray_workers or engine.ray_gpus"
    )
