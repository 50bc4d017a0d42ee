"""A call on a cluster is the call in one process, whatever dies: two nodes on this machine, and models of width 32."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import WORDS

pytest.importorskip("ray")
import ray
from ray import cloudpickle
from ray._private import ray_constants
from ray.cluster_utils import Cluster as Nodes

from llm_aug.backends import Scores, completed, load_llm
from llm_aug.backends import ray as backend
from llm_aug.backends.ray import spread_encoder, spread_llm
from llm_aug.backends.ray_cluster import shares
from llm_aug.backends.ray_pool import TRIES, Batch, Batches, next_size
from llm_aug.backends.scripted import Scripted
from llm_aug.cluster import Cluster
from llm_aug.data import Dataset, Prompt, Sampling, tidy_interactions, tidy_items
from llm_aug.errors import InputError, Unavailable
from llm_aug.generate import GenerateOptions, generate
from llm_aug.tasks.rewrite import Rewrite
from llm_aug.vectors import load_encoder

Folder = Callable[..., Path]
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
PROMPTS = [Prompt("Be brief.", " ".join(WORDS.split()[: 1 + n % 30])) for n in range(60)]
SAMPLING = Sampling(1.0, 0.9, 8)
DRAWN = list(range(60))
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Two of them, on the loopback interface; ended with the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cloudpickle.register_pickle_by_value(__import__(__name__))
        found = Nodes(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        found.add_node(**NODE)
        yield found
        ray.shutdown()
        found.shutdown()


@pytest.fixture
def cluster(nodes: Nodes) -> Iterator[Cluster]:
    yield Cluster(nodes.address, workers=2, gpus=0)
    backend._pool.cache_clear()


def scripted(folder: Path, **rule: Any) -> str:
    path = folder / "script.json"
    path.write_text(json.dumps({"rules": [{"pattern": r"Title: (?P<title>.+)", **rule}]}))
    return f"scripted:{path}"


def catalogue(items: int) -> Dataset:
    rows = {"item_id": [f"i{n}" for n in range(items)], "title": [f"Film number {n}" for n in range(items)]}
    return Dataset(tidy_items(_frame(rows)), tidy_interactions(_frame({"user_id": [], "item_id": []})))


def _frame(columns: dict[str, Any]) -> Any:
    import pandas as pd

    return pd.DataFrame(columns)


class Deadly(Scripted):
    """Ends its process on the prompt 'poison'."""

    def __init__(self) -> None:
        super().__init__(lambda prompt, sampling, seed: f"{prompt.user} {seed}", lambda prompt, continuation: -1.0)

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> Any:
        self._meet(prompts)
        return super().complete(prompts, sampling, seeds)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        self._meet(prompts)
        return super().score(prompts, continuations)

    @staticmethod
    def _meet(prompts: Sequence[Prompt]) -> None:
        if any(prompt.user == "poison" for prompt in prompts):
            os._exit(1)


def test_a_call_is_cut_so_that_all_workers_end_together() -> None:
    batches, sizes = Batches(100), []
    while batch := batches.take(16, 2):
        sizes.append(len(batch.rows))
    assert sizes[:5] == [16, 16, 16, 13, 10]
    assert (sizes[-3:], sum(sizes)) == ([2, 2, 2], 100)
    assert len(Batches(100).take(4000, 2).rows) == 50
    assert len(Batches(100).take(4000, 100).rows) == 1
    empty = Batches(0)
    assert (empty.take(16, 2), empty.take(16, 2)) == (Batch(range(0)), None)


def test_a_batch_grows_to_its_seconds_and_shrinks_where_it_took_longer() -> None:
    assert next_size(8, 8, 0.1) == 32
    assert next_size(600, 1, 0.2) == 600
    assert next_size(600, 600, 60.0) == 300
    assert next_size(8, 8, 600.0) == 1


def test_what_a_dead_worker_had_is_tried_again_and_halved_down_to_the_row_that_kills() -> None:
    assert TRIES == 2
    [again] = Batch(range(4, 9)).after_a_death()
    assert again == Batch(range(4, 9), 1)
    assert [half.rows for half in again.after_a_death()] == [range(4, 6), range(6, 9)]
    assert Batch(range(4, 5), 1).after_a_death() == []
    assert Batch(range(4, 5)).after_a_death() == [Batch(range(4, 5), 1)]


def test_workers_take_the_cpus_and_gpus_that_let_all_of_them_fit() -> None:
    small, large = {"CPU": 2.0}, {"CPU": 4.0}
    assert shares(Cluster(), [small, large, {"memory": 1.0}]) == (2, 2, 0.0)
    assert shares(Cluster(workers=3), [small, large]) == (3, 2, 0.0)
    assert shares(Cluster(workers=6), [small, large]) == (6, 1, 0.0)
    rich = {"CPU": 16.0, "GPU": 4.0}
    assert shares(Cluster(), [rich, small]) == (4, 4, 1.0)
    assert shares(Cluster(gpus=0.5), [rich]) == (8, 2, 0.5)
    assert shares(Cluster(gpus=0), [rich]) == (1, 16, 0.0)
    with pytest.raises(InputError, match=r"no room for 7 workers of 1 CPU and 0 GPUs"):
        shares(Cluster(workers=7), [small, large])


def test_no_cluster_is_told_as_what_is_not_there() -> None:
    with pytest.raises(Unavailable, match="no Ray cluster at"):
        spread_llm(Deadly, Cluster("127.0.0.1:1"))


@slow
@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_rows_equal_those_of_one_process(model_folder: Folder, cluster: Cluster, architecture: str) -> None:
    load = partial(load_llm, str(model_folder(architecture)), device="cpu")
    one, many = load(), spread_llm(load, cluster)
    assert (many.name, many.revision, many.adapter) == (one.name, one.revision, one.adapter)
    assert completed(many, PROMPTS, SAMPLING, DRAWN) == completed(one, PROMPTS, SAMPLING, DRAWN)
    assert completed(many, [], SAMPLING, []) == []
    here, there = one.score(PROMPTS, ["yes", "no, never"]), many.score(PROMPTS, ["yes", "no, never"])
    np.testing.assert_allclose(there.sums, here.sums, atol=1e-4)
    assert there.tokens.tolist() == here.tokens.tolist() == many.score([], ["yes", "no, never"]).tokens.tolist()
    lines, barred = ["Toy Story", "Heat", "Casino", "Jumanji"], lambda row: ["Heat"] if row % 2 else []
    told = [dict(llm.restricted(lines, 2).complete(PROMPTS, SAMPLING, DRAWN, barred)) for llm in (one, many)]
    assert told[0] == told[1]
    with pytest.raises(InputError, match="has no tokens"):
        many.score(PROMPTS, [""])


@slow
def test_vectors_equal_those_of_one_process(cluster: Cluster) -> None:
    texts = [prompt.user for prompt in PROMPTS]
    encoder = load_encoder("tfidf:8", texts)
    many = spread_encoder(encoder, cluster)
    assert many.name == encoder.name
    np.testing.assert_array_equal(many.encode(texts), encoder.encode(texts))
    assert many.encode([]).shape == (0, 8)


@slow
def test_a_node_that_dies_half_way_costs_its_batch_alone(nodes: Nodes, cluster: Cluster, tmp_path: Path) -> None:
    model = scripted(tmp_path, answer=r"It is \g<title>, of {} which nobody tells.", delay=0.02)
    dataset, options = catalogue(300), GenerateOptions(chunk=128, shard_rows=32)
    one = generate(Rewrite(), dataset, load_llm(model), options, tmp_path / "one")
    many = Dying(spread_llm(partial(load_llm, model), cluster), nodes, after=100)
    result = generate(Rewrite(), dataset, many, options, tmp_path / "many")
    assert many.killed
    assert (result.asked, result.failed, str(result)) == (300, 0, str(one))
    for name in ("samples.parquet", "rejects.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


class Dying:
    """A cluster's model, one of whose nodes is killed after so many answers; another takes its place later."""

    def __init__(self, llm: Any, nodes: Nodes, after: int):
        self.llm, self.nodes, self.left, self.killed = llm, nodes, after, False
        self.name, self.revision, self.adapter = llm.name, llm.revision, llm.adapter

    def complete(self, *asked: Any) -> Iterator[Any]:
        for answered in self.llm.complete(*asked):
            self.left -= 1
            if self.left == 0:
                worker = next(iter(self.nodes.worker_nodes))
                self.nodes.remove_node(worker, allow_graceful=False)
                self.nodes.add_node(**NODE)
                self.killed = True
            yield answered


@slow
def test_a_row_that_kills_its_workers_fails_alone(cluster: Cluster) -> None:
    prompts = [Prompt("", "poison" if n == 5 else f"film {n}") for n in range(24)]
    llm = spread_llm(Deadly, cluster)
    answers = completed(llm, prompts, SAMPLING, range(24))
    assert [n for n, answer in enumerate(answers) if answer.finish == "error"] == [5]
    assert answers[5].text.startswith("2 workers ended")
    assert answers[6].text == "film 6 6"
    assert np.flatnonzero(np.isnan(llm.score(prompts, ["yes"]).sums[:, 0])).tolist() == [5]


@slow
def test_who_stops_listening_leaves_workers_that_answer_the_next_call(cluster: Cluster, tmp_path: Path) -> None:
    llm = spread_llm(partial(load_llm, scripted(tmp_path, answer="yes", delay=0.05)), cluster)
    asked = [Prompt("", f"Title: {n}") for n in range(40)]
    next(answers := llm.complete(asked, SAMPLING, range(40)))
    answers.close()
    started = time.monotonic()
    assert {answer.text for answer in completed(llm, asked, SAMPLING, range(40))} == {"yes"}
    assert time.monotonic() - started < 20


@slow
def test_other_weights_on_a_node_are_refused(cluster: Cluster) -> None:
    llm = spread_llm(ByProcess, cluster)
    films = [Prompt("", f"film {n}") for n in range(200)]
    with pytest.raises(InputError, match="other weights"):
        completed(llm, films, SAMPLING, range(200))


class ByProcess(Scripted):
    def __init__(self) -> None:
        super().__init__(lambda *asked: time.sleep(0.1) or "", lambda *asked: 0.0, revision=str(os.getpid()))
