from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.metrics import FEW, METRICS, Keys, auc, hit, measure, mrr, ndcg, precision, rank, rank_by_key, recall

# One row per user, ranks 1 to 4; relevant items: 2, 1, 6.
HITS = np.array([[True, False, True, False], [False, False, False, False], [False, True, True, True]])
RELEVANT = np.array([2, 1, 6])


def ties(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("metric", "at_2", "at_4"),
    [
        (precision, [1 / 2, 0, 1 / 2], [2 / 4, 0, 3 / 4]),
        (recall, [1 / 2, 0, 1 / 6], [2 / 2, 0, 3 / 6]),
        (hit, [1, 0, 1], [1, 0, 1]),
        (mrr, [1, 0, 1 / 2], [1, 0, 1 / 2]),
        (
            ndcg,
            [1 / (1 + 1 / log2(3)), 0, (1 / log2(3)) / (1 + 1 / log2(3))],
            [
                (1 + 1 / log2(4)) / (1 + 1 / log2(3)),
                0,
                (1 / log2(3) + 1 / log2(4) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4) + 1 / log2(5)),
            ],
        ),
    ],
)
def test_by_hand(metric, at_2: list[float], at_4: list[float]) -> None:
    np.testing.assert_allclose(metric(HITS, RELEVANT, 2), at_2, atol=1e-12)
    np.testing.assert_allclose(metric(HITS, RELEVANT, 4), at_4, atol=1e-12)


def test_a_first_hit_below_the_cutoff_does_not_count() -> None:
    late = np.array([[False, False, True]])
    for metric in METRICS.values():
        assert metric(late, np.array([1]), 2).tolist() == [0]


def test_a_cutoff_deeper_than_the_ranking_counts_the_missing_ranks_as_misses() -> None:
    hits = np.array([[True, False]])
    assert precision(hits, np.array([3]), 10).tolist() == [1 / 10]
    assert recall(hits, np.array([3]), 10).tolist() == [1 / 3]
    assert ndcg(hits, np.array([3]), 10).tolist() == [pytest.approx(1 / (1 + 1 / log2(3) + 1 / log2(4)))]


def test_best_first_and_only_candidates() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.7]], dtype=np.float32)
    assert rank(scores, np.ones(4, bool), 3, ties()).tolist() == [[1, 3, 2]]
    assert rank(scores, np.array([[True, False, True, True]]), 3, ties()).tolist() == [[3, 2, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_fewer_candidates_than_k_leave_minus_one_at_the_end(seed: int) -> None:
    scores = np.array([[0.1, 0.9, -np.inf, 0.7]], dtype=np.float32)
    candidates = np.array([True, False, True, True])
    assert rank(scores, candidates, 6, ties(seed)).tolist() == [[3, 0, 2, -1, -1, -1]]  # -inf is bad, but a candidate


@pytest.mark.parametrize("seed", range(5))
def test_nan_is_never_returned(seed: int) -> None:
    scores = np.array([[np.nan, 0.2, np.nan, 0.4], [np.nan] * 4], dtype=np.float32)
    assert rank(scores, np.ones(4, bool), 4, ties(seed)).tolist() == [[3, 1, -1, -1], [-1] * 4]


def test_order_of_ties_is_seeded_and_differs_between_users() -> None:
    scores = np.zeros((50, 30), dtype=np.float32)
    one = rank(scores, np.ones(30, bool), 30, ties(1))
    assert (one == rank(scores, np.ones(30, bool), 30, ties(1))).all()
    assert (one != rank(scores, np.ones(30, bool), 30, ties(2))).any()
    assert len({tuple(row) for row in one}) == 50
    assert (np.sort(one, axis=1) == np.arange(30)).all()


def test_ties_do_not_move_what_is_not_tied() -> None:
    scores = np.array([[3, 1, 1, 1, 2]], dtype=np.float32)
    for seed in range(10):
        assert rank(scores, np.ones(5, bool), 2, ties(seed)).tolist() == [[0, 4]]


@pytest.mark.parametrize("relevant_first", [True, False])
def test_a_constant_scorer_is_at_chance_wherever_the_catalogue_puts_the_popular(relevant_first: bool) -> None:
    users, items, k = 4000, 50, 10
    relevant = np.zeros((users, items), dtype=bool)
    relevant[:, :5] = True
    if not relevant_first:
        relevant = relevant[:, ::-1]
    ranked = rank(np.zeros((users, items), np.float32), np.ones(items, bool), k, ties())
    hits = np.take_along_axis(relevant, ranked, axis=1)
    counts = np.full(users, 5)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    assert recall(hits, counts, k).mean() == pytest.approx(k / items, abs=0.01)
    assert ndcg(hits, counts, k).mean() == pytest.approx(5 / items * discounts.sum() / discounts[:5].sum(), abs=0.01)


def one_user(ranking: list[int], relevant: set[int], k: int) -> dict[str, float]:
    """The metrics again, as plain loops."""
    found = [n for n, item in enumerate(ranking[:k], 1) if item in relevant]
    ideal = sum(1 / log2(n + 1) for n in range(1, min(len(relevant), k) + 1))
    return {
        "ndcg": sum(1 / log2(n + 1) for n in found) / ideal,
        "recall": len(found) / len(relevant),
        "precision": len(found) / k,
        "hit": float(bool(found)),
        "mrr": 1 / found[0] if found else 0.0,
    }


def random_rankings(users: int = 40, items: int = 30) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rankings of scores full of ties, and one to eight relevant items each."""
    random = np.random.default_rng(7)
    scores = random.integers(0, 5, (users, items)).astype(np.float32)
    relevant = np.zeros((users, items), dtype=bool)
    for row in relevant:
        row[random.choice(items, random.integers(1, 9), replace=False)] = True
    return rank(scores, np.ones(items, bool), items, random), relevant


@pytest.mark.parametrize("k", [1, 5, 20, 30])
def test_random_rankings_against_plain_loops(k: int) -> None:
    ranked, relevant = random_rankings()
    hits, counts = np.take_along_axis(relevant, ranked, axis=1), relevant.sum(axis=1)
    expected = [one_user(list(a), set(np.flatnonzero(b)), k) for a, b in zip(ranked, relevant, strict=True)]
    for name, metric in METRICS.items():
        np.testing.assert_allclose(metric(hits, counts, k), [row[name] for row in expected], atol=1e-12, err_msg=name)


@pytest.mark.slow  # ranx compiles for half a minute
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("k", [5, 20, 30])
def test_random_rankings_against_ranx(k: int) -> None:
    from ranx import Qrels, Run, evaluate

    ranked, relevant = random_rankings()
    hits, counts = np.take_along_axis(relevant, ranked, axis=1), relevant.sum(axis=1)
    truth = Qrels({f"u{n:03d}": {f"i{item}": 1 for item in np.flatnonzero(row)} for n, row in enumerate(relevant)})
    # ties are broken before: the run is handed over with scores that all differ
    run = Run({f"u{n:03d}": {f"i{item}": float(-at) for at, item in enumerate(row)} for n, row in enumerate(ranked)})
    for ours, theirs in {"hit": "hit_rate", **{name: name for name in ("ndcg", "recall", "precision", "mrr")}}.items():
        expected = evaluate(truth, run, f"{theirs}@{k}", return_mean=False)
        np.testing.assert_allclose(METRICS[ours](hits, counts, k), expected, rtol=0, atol=1e-9, err_msg=ours)


def rank_by_sorting_everything(scores, candidates, k: int, keys: Keys) -> NDArray[np.int32]:
    """What `rank_by_key` means: a user's candidates in the order of his key, then sorted by score, equal ones left."""
    ranked = np.full((len(scores), k), -1, dtype=np.int32)
    for user, (row, allowed) in enumerate(zip(scores, candidates & ~np.isnan(scores), strict=True)):
        drawn = [splitmix(int(keys[user]), item) for item in range(len(row))]
        order = np.array(sorted(np.flatnonzero(allowed), key=drawn.__getitem__), dtype=np.int64)
        best = order[np.argsort(-row[order], kind="stable")][:k]
        ranked[user, : len(best)] = best
    return ranked


def splitmix(seed: int, n: int) -> int:
    """The n-th number of SplitMix64, with Python's integers."""
    z = (seed + (n + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_the_order_of_ties_is_that_of_a_published_generator() -> None:
    """Of seed 1234567, the first five of the reference implementation in C."""
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [splitmix(1234567, n) for n in range(5)] == expected
    order = np.argsort(np.array(expected, dtype=np.uint64))
    keys = np.array([1234567], dtype=np.uint64)
    assert rank_by_key(np.zeros((1, 5), np.float32), np.ones(5, bool), 5, keys)[0].tolist() == order.tolist()


def drawn_keys(seed: int, users: int) -> Keys:
    return np.random.default_rng(seed).integers(2**64, size=users, dtype=np.uint64)


def drawn_case(seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_], int]:
    """Scores of every sort (continuous, a few values, constant, some infinite or NaN), few or many candidates."""
    random = np.random.default_rng(seed)
    users, items, k = (int(random.integers(1, most)) for most in (9, 400, 30))
    levels = int(random.choice([1, 3, 50, 10**7]))
    scores = random.integers(-levels, levels, (users, items)).astype(np.float32)
    if random.random() < 0.5:
        strange = random.choice(np.array([np.nan, np.inf, -np.inf, -0.0], dtype=np.float32), scores.shape)
        scores = np.where(random.random(scores.shape) < random.random(), strange, scores)
    shape = (users, items) if random.random() < 0.5 else (items,)
    return scores, random.random(shape) < random.choice([0.02, 0.5, 1.0]), k


@settings(deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_ranking_is_that_of_a_full_sort_to_the_bit(seed: int) -> None:
    scores, candidates, k = drawn_case(seed)
    keys = drawn_keys(seed, len(scores))
    expected = rank_by_sorting_everything(scores, candidates, k, keys)
    np.testing.assert_array_equal(rank_by_key(scores, candidates, k, keys), expected)
    np.testing.assert_array_equal(rank(scores, candidates, k, ties(seed)), expected)  # draws the same keys


def test_one_tied_user_among_many_gets_the_order_of_his_key() -> None:
    scores = np.random.default_rng(0).permuted(np.tile(np.arange(500, dtype=np.float32), (20, 1)), axis=1)
    scores[13] = 0
    keys = drawn_keys(4, 20)
    expected = rank_by_sorting_everything(scores, np.ones(500, bool), 10, keys)
    np.testing.assert_array_equal(rank_by_key(scores, np.ones(500, bool), 10, keys), expected)
    alone = rank_by_key(scores[13:14], np.ones(500, bool), 10, keys[13:14])
    np.testing.assert_array_equal(alone[0], expected[13])  # whoever is ranked with him


def test_the_numbers_of_threads_and_of_users_at_once_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    scores, candidates = random.integers(0, 60, (90, 700)).astype(np.float32), random.random((90, 700)) < 0.9
    relevant, keys = candidates & (random.random((90, 700)) < 0.05), drawn_keys(0, 90)
    relevant[:, 0] = candidates[:, 0] = True
    found = []
    for threads, cells in ((1, 10**9), (1, 1), (2, 1400), (5, 700)):
        monkeypatch.setattr("eval.metrics.THREADS", threads)
        monkeypatch.setattr("eval.metrics.CELLS", cells)
        found.append((rank_by_key(scores, candidates, 20, keys), auc(scores, candidates, relevant)))
    for ranked, shares in found[1:]:
        np.testing.assert_array_equal(ranked, found[0][0])
        np.testing.assert_array_equal(shares, found[0][1])


def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.metrics.THREADS", 2)
    monkeypatch.setattr("eval.metrics.CELLS", 1)
    with pytest.raises(IndexError):
        rank_by_key(np.zeros((3, 4), np.float32), np.ones(4, bool), 2, drawn_keys(0, 2))


def slow_auc(scores: list[float], candidates: list[bool], relevant: list[bool]) -> float:
    """Every pair by a loop; NaN is as bad as -inf."""
    marks = [-np.inf if np.isnan(score) else score for score in scores]
    ones = [mark for mark, wanted in zip(marks, relevant, strict=True) if wanted]
    others = [mark for mark, c, wanted in zip(marks, candidates, relevant, strict=True) if c and not wanted]
    points = [1.0 if one > other else 0.5 if one == other else 0.0 for one in ones for other in others]
    return sum(points) / len(points) if points else float("nan")


def test_auc_by_hand() -> None:
    scores = np.array([[4, 3, 2, 1], [1, 1, 1, 1], [1, 2, 3, 4]], dtype=np.float32)
    relevant = np.array([[True, False, True, False]] * 3)
    assert auc(scores, np.ones(4, bool), relevant).tolist() == [3 / 4, 1 / 2, 1 / 4]
    without_the_second = np.array([True, False, True, True])
    assert auc(scores, without_the_second, relevant).tolist() == [1, 1 / 2, 0]


def test_auc_without_other_candidates_is_not_a_number() -> None:
    everything = np.ones((1, 3), bool)
    assert np.isnan(auc(np.zeros((1, 3), np.float32), everything, everything)).all()


@settings(deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_auc_is_the_share_of_pairs_in_order(seed: int) -> None:
    scores, _, _ = drawn_case(seed)
    random = np.random.default_rng(seed)
    candidates = random.random(scores.shape) < 0.8
    candidates[:, 0] = True
    relevant = candidates & (random.random(scores.shape) < random.choice([0.02, 0.3]))
    relevant[:, 0] = True
    expected = [slow_auc(*map(list, row)) for row in zip(scores, candidates, relevant, strict=True)]
    np.testing.assert_allclose(auc(scores, candidates, relevant), expected, rtol=0, atol=1e-12)


def test_auc_of_few_and_of_many_relevant_items_agree_with_the_loop() -> None:
    scores = np.random.default_rng(1).integers(0, 40, (1, 300)).astype(np.float32)
    for n_relevant in (FEW, FEW + 1):
        relevant = np.arange(300)[None] < n_relevant
        expected = slow_auc(list(scores[0]), [True] * 300, list(relevant[0]))
        assert auc(scores, np.ones(300, bool), relevant)[0] == pytest.approx(expected, abs=1e-12)


def test_measure_names_every_metric_and_cutoff() -> None:
    scores = np.array([[3, 2, 1]], dtype=np.float32)
    ranked, values = measure(scores, np.ones(3, bool), np.array([[False, True, False]]), (1, 2), drawn_keys(0, 1))
    assert ranked.tolist() == [[0, 1]]
    assert list(values) == [*(f"{name}@{k}" for name in METRICS for k in (1, 2)), "auc"]
    assert (values["hit@1"].tolist(), values["hit@2"].tolist(), values["auc"].tolist()) == ([0], [1], [0.5])
