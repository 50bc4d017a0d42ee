"""Small runs of the benchmark: its blocks and our side."""

from __future__ import annotations

import numpy as np
import pytest

from eval.bench.metrics import KS, MOST_RELEVANT, Ours, blocks, largest_difference, measure


def test_the_blocks_are_the_same_each_time_and_hold_all_users() -> None:
    first, again = list(blocks(300, 50, 1)), list(blocks(300, 50, 1))
    assert [(one.start, len(one.scores)) for one in first] == [(0, 256), (256, 44)]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.relevant, other.relevant)


def test_everyone_has_something_to_find_among_his_candidates() -> None:
    for block in blocks(300, 500, 0):
        wanted = block.relevant.sum(axis=1)
        assert wanted.min() >= 1
        assert wanted.max() <= MOST_RELEVANT
        assert not (block.relevant & ~block.candidates).any()
        assert not block.candidates.all()


def test_our_side_keeps_the_metrics_and_lists_of_every_user() -> None:
    ours = Ours(items=500, seed=0)
    for block in blocks(300, 500, 0):
        ours.take(block)
    ours.finish()
    assert [lists.shape for lists in ours.lists] == [(256, max(KS)), (44, max(KS))]
    recall = np.concatenate([values["recall@100"] for values in ours.values])
    assert len(recall) == 300
    assert 100 / 500 < recall.mean() < 1  # better than chance: relevant items have high scores


@pytest.mark.slow  # ranx compiles for half a minute
@pytest.mark.filterwarnings("ignore")
def test_both_sides_agree() -> None:
    ours, theirs = measure(users=600, items=400, ranx_users=300, seed=0)
    assert theirs.starts == [0, 512]  # whole blocks, spread over all
    assert len(theirs.run) == 256 + 88
    assert largest_difference(ours, theirs) < 1e-9
