"""The order of histories, their windows, and that the models read the order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from llm_aug.data import Dataset, tidy_interactions, tidy_items
from recommender import make_student
from recommender.matrix import to_log
from recommender.sequences import History, histories, steps, windows
from recommender.sequential import Attentive, Recurrent, SASRec

FRUITS = ["apple", "fig", "kiwi", "lime", "pear", "plum"]


def fruit(rows: list[tuple[str, str, int | None, float]]) -> Dataset:
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "weight"])
    items = tidy_items(pd.DataFrame({"item_id": FRUITS, "title": FRUITS}))
    return Dataset(items, tidy_interactions(frame))


def order(data: Dataset, user: str = "ann", seed: int = 0) -> list[str]:
    log = to_log(data)
    one = histories(data, log.users, log.items, seed)[log.users.get_loc(user)]
    assert one.items[0] == len(FRUITS)  # the start
    return [FRUITS[at] for at in one.items[1:]]


def test_rows_go_by_time_and_at_equal_times_by_id() -> None:
    data = fruit([("ann", "plum", 1, 1), ("ann", "pear", 7, 1), ("ann", "fig", 7, 1), ("bob", "kiwi", 0, 1)])
    assert order(data) == ["plum", "fig", "pear"]
    assert order(data, "bob") == ["kiwi"]


def test_a_repeated_pair_counts_once_at_its_heaviest_and_then_first_row() -> None:
    rows = [("ann", "fig", 9, 1.0), ("ann", "fig", 1, 0.5), ("ann", "fig", 5, 1.0), ("ann", "kiwi", 7, 1.0)]
    assert order(fruit(rows)) == ["fig", "kiwi"]
    assert order(fruit([*rows, ("ann", "lime", 0, 0.0)])) == ["fig", "kiwi"]


def test_a_log_without_times_has_a_drawn_order_that_the_order_of_rows_does_not_change() -> None:
    rows = [("ann", fruit, None, 1.0) for fruit in FRUITS]
    assert order(fruit(rows)) == order(fruit(rows[::-1]))
    assert len({tuple(order(fruit(rows), seed=seed)) for seed in range(5)}) > 1


def test_rows_without_time_leave_the_order_of_the_others_as_it_is() -> None:
    timed = [("ann", name, at, 1.0) for at, name in enumerate(["plum", "apple", "lime"])]
    mixed = order(fruit([*timed, ("ann", "fig", None, 0.5), ("ann", "kiwi", None, 0.5)]))
    assert [name for name in mixed if name in ("plum", "apple", "lime")] == ["plum", "apple", "lime"]
    assert len(mixed) == 5


def test_stretches_are_cut_from_the_end_and_targets_follow_inputs() -> None:
    one = History(np.array([9, 1, 2, 3, 4, 5]), np.ones(6, np.float32))
    found = [(inputs.items.tolist(), targets.items.tolist()) for inputs, targets in steps([one], 2)]
    assert found == [([3, 4], [4, 5]), ([1, 2], [2, 3]), ([9], [1])]
    assert windows([one[:2]], 4).weights.tolist() == [[1, 1, 0, 0]]


@pytest.mark.parametrize("kind", ["gru", "sasrec"])
def test_a_state_knows_nothing_of_what_comes_after_it(kind: str) -> None:
    random = torch.Generator().manual_seed(0)
    options = SASRec(dimensions=8, max_length=6)
    network = Recurrent(8, 6, random) if kind == "gru" else Attentive(options, random)
    inputs = torch.randn(1, 6, 8, generator=random)
    other = inputs.clone()
    other[:, 4:] *= -1
    one, changed = (network(given, 0, random) for given in (inputs, other))
    torch.testing.assert_close(one[:, :4], changed[:, :4])
    assert not torch.allclose(one[:, 4:], changed[:, 4:])


@pytest.mark.parametrize("name", ["gru", "sasrec"])
def test_the_last_item_decides_what_comes_next(name: str) -> None:
    """Users walk a circle of fruits from random starts; what follows depends on the end of the walk alone."""
    random = np.random.default_rng(0)
    rows = [
        (f"u{user}", FRUITS[(start + step) % 6], step, 1.0)
        for user, start in enumerate(random.integers(6, size=60))
        for step in range(3)
    ]
    data = fruit(rows)
    options = {"encoder": "hash:16", "dimensions": 16, "max_length": 4, "epochs": 20, "id_dropout": 0.2}
    model = make_student(name, {**options, "dropout": 0.0}).fit(data)
    users = [f"u{user}" for user in range(60)]
    last = np.array([FRUITS.index(order(data, user)[-1]) for user in users])
    scores = model.scores(users)
    ahead, behind = (scores[np.arange(60), (last + step) % 6].mean() for step in (1, 3))
    assert ahead > behind + 1
