"""What a worker holds, what the workers spend, and how long they are waited for: without a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray")
import ray

from llm_aug.backends import Scores, completed, ray_pool, spent
from llm_aug.backends.ray import SpreadLLM
from llm_aug.backends.ray_pool import Pool, Service, _Worker
from llm_aug.backends.scripted import Scripted
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.errors import Unavailable

ALIVE: set[str] = set()
AT_LOAD: dict[str, set[str]] = {}
ASKED = [Prompt("", f"film {n}") for n in range(5)]
SAMPLING = Sampling(1.0, 0.9, 8)


class Held:
    """Is alive from its making to its end; the cycle is as in a model, whose parts know one another."""

    def __init__(self, name: str, base: Held | None = None):
        self.name, self.base, self.itself = name, base, self
        ALIVE.add(name)

    def __del__(self) -> None:
        ALIVE.discard(self.name)


def service(name: str, kind: str = "model", base: Service | None = None) -> Service:
    """Its factory notes what was alive when it was called."""

    def make(*bases: Held) -> Held:
        AT_LOAD[name] = ALIVE - {one.name for one in bases}
        return Held(name, *bases)

    return Service(name, [make], kind, base)


def test_a_worker_lets_go_of_a_model_and_what_depends_on_it_before_it_loads_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray, "get", lambda stored: stored)
    worker, first, second = _Worker(str(Path.cwd())), service("first"), service("second")
    lines = service("lines", base=first)
    for one in (service("vectors", "encoder"), first, lines, service("others", base=first), lines):
        assert worker.work(one, lambda held: held.name, ())[0] == one.key
    assert sorted(ALIVE) == ["first", "lines", "others", "vectors"]
    worker.work(second, str, ())
    assert AT_LOAD["second"] == {"vectors"}
    assert sorted(ALIVE) == ["second", "vectors"]
    worker.work(lines, str, ())  # an earlier one is built again
    assert sorted(ALIVE) == ["first", "lines", "vectors"]
    worker.work(service("words", "encoder"), str, ())
    assert AT_LOAD["words"] == {"first", "lines"}


class Paid(Scripted):
    def __init__(self) -> None:
        super().__init__(lambda prompt, sampling, seed: prompt.user, lambda prompt, continuation: -1.0)
        self.usage = {"requests": 100, "cost": 1.0}

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> Any:
        self._pay(len(prompts))
        return super().complete(prompts, sampling, seeds)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        self._pay(len(prompts))
        return super().score(prompts, continuations)

    def _pay(self, prompts: int) -> None:
        self.usage = {"requests": self.usage["requests"] + prompts, "cost": self.usage["cost"] + prompts / 4}


class TwoWorkers:
    """A Pool of two in this process: the first has the even rows; row 4 ends who answers it."""

    def __init__(self, *workers: Any):
        self.workers = workers

    def ask(self, service: Service, function: Callable[..., Any]) -> Any:
        return function(self.workers[0])

    def spread(
        self, service: Service, function: Callable[..., Any], arguments: Any, rows: int
    ) -> Iterator[tuple[range, Any]]:
        for row in range(rows):
            answered = None if row == 4 else function(self.workers[row % 2], *arguments([row]))
            yield range(row, row + 1), answered


def test_what_all_workers_spend_is_summed() -> None:
    pool: Any = TwoWorkers(Paid(), Paid())
    llm = SpreadLLM(pool, service("paid"))
    before = spent(llm)
    answers = completed(llm, ASKED, SAMPLING, range(5))
    assert [answer.text for answer in answers[:4]] == [prompt.user for prompt in ASKED[:4]]
    assert answers[4] == Completion(ray_pool.KILLER, "error", 0)
    assert spent(llm, before) == {"requests": 4, "cost": 1.0}
    assert llm.score(ASKED[:2], ["yes"]).sums.tolist() == [[-1.0], [-1.0]]
    assert spent(llm, before) == {"requests": 6, "cost": 1.5}
    silent: Any = TwoWorkers(*[Scripted(lambda *asked: "", lambda *asked: 0.0)] * 2)
    free = SpreadLLM(silent, service("free"))
    completed(free, ASKED, SAMPLING, range(5))
    assert spent(free) == {}


def test_a_cluster_without_a_free_worker_is_waited_for_and_then_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 5))
    monkeypatch.setattr(ray_pool, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(ray, "wait", lambda references, **options: ([], references))
    pool = Pool.__new__(Pool)
    pool._idle, pool._coming, pool._sizes, pool._told = [], {"ready": "worker"}, {}, False
    with pytest.raises(Unavailable, match=r"no worker of the cluster is free.* 600 s were waited"):
        pool.ask(service("any"), str)
    assert capsys.readouterr().err.count("waiting up to 600 s") == 1
    assert next(clock) == 605
