"""The workers of a Ray cluster, and what they do: this process cuts a call into batches and takes their answers.

Plain actors rather than Ray Data: answers come as batches end, so that this process goes on writing its shards, and a
row that kills whoever reads it is found by halving and fails alone, where Ray Data ends the run or drops its block.
"""

from __future__ import annotations

import gc
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import exceptions

from llm_aug.backends.ray_cluster import connect, shares
from llm_aug.cluster import Cluster
from llm_aug.errors import InputError, LlmAugError, Resumable, Unavailable
from llm_aug.progress import say

FIRST_ROWS, MOST_ROWS, GROWTH, FEWEST_SHARE = 8, 4096, 4, 8
BATCH_SECONDS = 30.0  # what a batch aims at: what a death costs, and how long nothing may be heard
TRIES = 2  # workers that a batch may end before it is halved, and a row before it fails
MOST_DEATHS = 16  # and two for each worker, without an answer in between: the fault is not in the rows
TICK = 1.0  # seconds in which a signal is heard
PATIENCE, MOST_PATIENCE = 10.0, 600.0  # seconds without any worker: until it is said, until it is an error
_LOST = (
    exceptions.RayActorError,
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    exceptions.OutOfMemoryError,
)
KILLER = f"{TRIES} workers ended while they answered this row alone"


@dataclass(frozen=True)
class Service:
    """What workers build once each. factory: in a list, so that Ray does not fetch it with every batch. kind: of which
    a worker holds one at a time, with what is built from it. base: what it is built from, of the same kind. mark:
    revision and adapter that a model must have."""

    key: str
    factory: list[Any]
    kind: str
    base: Service | None = None
    mark: tuple[str, str] | None = None


class _Worker:
    """A process of the cluster. folder: this one's working directory, for paths that are relative."""

    def __init__(self, folder: str) -> None:
        self._built: dict[str, dict[str, Any]] = {}  # by kind and key
        with suppress(OSError):
            os.chdir(folder)

    def ready(self) -> None:
        """Is answered once the process is there, and free."""

    def work(self, service: Service, function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[Any, float]:
        """What function returns, and in how many seconds; loading is not counted."""
        served = self._serve(service)
        started = time.monotonic()
        return function(served, *arguments), time.monotonic() - started

    def _serve(self, service: Service) -> Any:
        built = self._built.setdefault(service.kind, {})
        if service.key not in built:
            make = ray.get(service.factory[0])
            if service.base is None:
                built.clear()
                gc.collect()  # models hold themselves in cycles, and two may not fit
                built[service.key] = make()
            else:
                built[service.key] = make(self._serve(service.base))
        served = built[service.key]
        if service.mark is not None and service.mark != (served.revision, served.adapter):
            node, found = os.uname().nodename, (served.revision, served.adapter)
            raise InputError(
                f"node {node} has other weights {found} than the first one {service.mark}; make them equal"
            )
        return served


@dataclass(frozen=True)
class Batch:
    """tries: workers that ended with it."""

    rows: range
    tries: int = 0

    def after_a_death(self) -> list[Batch]:
        """What is to be tried again; nothing of a row whose tries are over."""
        tries = self.tries + 1
        if tries < TRIES:
            return [Batch(self.rows, tries)]
        middle = len(self.rows) // 2
        return [Batch(half, TRIES - 1) for half in (self.rows[:middle], self.rows[middle:])] if middle else []


@dataclass
class Batches:
    """The rows of one call. first: of those that were never sent."""

    rows: int
    first: int = 0
    again: deque[Batch] = field(default_factory=deque)
    sent: dict[Any, tuple[Any, Batch]] = field(default_factory=dict)

    def take(self, size: int, workers: int) -> Batch | None:
        """At most size rows, and fewer near the end, so that all workers end together; new ones before those tried.

        Not many fewer, since an engine is slow with a few rows. A call without rows is one batch without rows.
        """
        left = self.rows - self.first
        if left > 0 or self.first == self.rows == 0:
            fewest = min(size // FEWEST_SHARE, -(-self.rows // workers))
            count = max(1, min(size, left, max(fewest, -(-left // (2 * workers)))))
            rows = range(self.first, self.first + count)
            self.first = max(rows.stop, 1)
            return Batch(rows if self.rows else range(0))
        return self.again.popleft() if self.again else None


def next_size(size: int, rows: int, seconds: float) -> int:
    """Rows of a batch, after one of so many rows took so long; a small one, at a call's end, does not shrink it."""
    fitting = max(1, min(int(rows * BATCH_SECONDS / max(seconds, 1e-3)), GROWTH * rows, MOST_ROWS))
    return fitting if seconds > BATCH_SECONDS else max(size, fitting)


class Pool:
    """The workers, one batch in flight for each. What one leaves behind by dying is given to the others."""

    def __init__(self, cluster: Cluster) -> None:
        connect(cluster.address)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        workers, cpus, gpus = shares(cluster, nodes)
        make = ray.remote(_Worker).options(
            num_cpus=cpus, num_gpus=gpus, max_restarts=-1, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        self._idle: list[Any] = []
        self._coming: dict[Any, Any] = {}  # workers that start, start again, or are still at what nobody waits for
        for _ in range(workers):
            self._await(make.remote(str(Path.cwd())))
        self._sizes: dict[str, int] = {}
        self._deaths = 0
        self._heard = time.monotonic()  # when a worker last was there
        self._told = False

    def spread(
        self,
        service: Service,
        function: Callable[..., Any],
        arguments: Callable[[Sequence[int]], tuple[Any, ...]],
        rows: int,
    ) -> Iterator[tuple[range, Any]]:
        """(rows, function(served, *arguments(rows))) in the order in which they end, each row once.

        None stands for the answer to a row that ended its workers. Raises Resumable where all of them die, Unavailable
        where none is free for MOST_PATIENCE.
        """
        batches = Batches(rows)
        self._heard = time.monotonic()
        try:
            while True:
                while self._idle and (batch := batches.take(self._size(function), self._workers(batches))):
                    worker = self._idle.pop(0)
                    reference = worker.work.remote(service, function, arguments(batch.rows))
                    batches.sent[reference] = worker, batch
                if not batches.sent and not batches.again and batches.first >= max(rows, 1):
                    return
                yield from self._ended(batches, function)
        finally:
            for worker, _ in batches.sent.values():
                self._await(worker)

    def ask(self, service: Service, function: Callable[..., Any]) -> Any:
        """function(served), from one worker."""
        [(_, answer)] = self.spread(service, function, lambda rows: (), 1)
        if answer is None:
            raise Resumable(f"{TRIES} workers ended while they loaded it; give them more memory and run again")
        return answer

    def _workers(self, batches: Batches) -> int:
        return len(self._idle) + len(self._coming) + len(batches.sent)

    def _size(self, function: Callable[..., Any]) -> int:
        return self._sizes.get(function.__name__, FIRST_ROWS)

    def _await(self, worker: Any) -> None:
        self._coming[worker.ready.remote()] = worker

    def _ended(self, batches: Batches, function: Callable[..., Any]) -> Iterator[tuple[range, Any]]:
        """Waits a moment for batches to end and for workers to be ready."""
        references = [*batches.sent, *self._coming]
        if not references:
            raise Resumable("no worker of the cluster is left; see `ray status`, mend it and run again")
        done, _ = ray.wait(references, num_returns=1, timeout=TICK)
        if done or batches.sent:
            self._heard, self._told = time.monotonic(), False
        else:
            self._waited(time.monotonic() - self._heard)
        for reference in done:
            if reference in self._coming:
                self._arrived(reference)
                continue
            worker, batch = batches.sent.pop(reference)
            try:
                answers, seconds = ray.get(reference)
            except _LOST as death:
                self._await(worker)
                self._died(death)
                more = batch.after_a_death()
                batches.again += more
                if not more:
                    yield batch.rows, None
                continue
            except exceptions.RayTaskError as error:
                self._idle.append(worker)
                raise _cause(error) from error
            self._idle.append(worker)
            self._deaths = 0
            if batch.rows:
                self._sizes[function.__name__] = next_size(self._size(function), len(batch.rows), seconds)
            yield batch.rows, answers

    def _waited(self, seconds: float) -> None:
        taken = "no worker of the cluster is free: others may have its CPUs and GPUs, see `ray status`"
        if seconds >= MOST_PATIENCE:
            raise Unavailable(f"{taken}; {seconds:.0f} s were waited, run again when there is room")
        if seconds >= PATIENCE and not self._told:
            self._told = True
            say(f"{taken}; waiting up to {MOST_PATIENCE:.0f} s")

    def _arrived(self, reference: Any) -> None:
        worker = self._coming.pop(reference)
        try:
            ray.get(reference)
        except exceptions.ActorDiedError:  # and Ray says that it does not come back
            return
        except _LOST:
            self._await(worker)
            return
        self._idle.append(worker)

    def _died(self, death: Exception) -> None:
        self._deaths += 1
        most = MOST_DEATHS + 2 * (len(self._idle) + len(self._coming))
        if self._deaths > most:
            reason = " ".join(str(death).split())[:300]
            raise Resumable(f"{self._deaths} workers ended and none answered ({reason}); give them more memory")


def stored(value: Any) -> list[Any]:
    """In the cluster's store, as `Service.factory` has it."""
    return [ray.put(value)]


def _cause(error: Any) -> BaseException:
    """A worker's own error, as one process would raise it; anything else with the worker's traceback."""
    cause = error.cause
    return cause if isinstance(cause, LlmAugError) else error
