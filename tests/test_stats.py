from __future__ import annotations

import numpy as np
import pytest

from eval.stats import Interval, bootstrap, holm, paired


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_the_mean_is_the_mean_of_what_is_there() -> None:
    assert bootstrap(np.array([[1.0, 2.0, 6.0]])).mean == 3
    assert bootstrap(np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 5.0]])).mean == 3


def test_the_interval_of_many_users_is_that_of_the_normal_distribution() -> None:
    values = draw(0, 1, 2000)
    found, error = bootstrap(values), values.std() / np.sqrt(2000)
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_the_interval_covers_the_truth_in_about_95_of_100_cases() -> None:
    """Users are a random sample; the truth is 0.3."""
    cases = 400
    found = [bootstrap(0.3 + draw(case, 1, 60), resamples=400) for case in range(cases)]
    covered = sum(one.low <= 0.3 <= one.high for one in found) / cases
    assert 0.91 <= covered <= 0.98
    assert {one.low < 0.3 < one.high for one in found} == {True, False}


def test_a_user_keeps_all_of_his_values() -> None:
    """Ten equal seeds are one seed: the interval must not shrink as if there were ten times the users."""
    values = draw(1, 1, 200)
    once, often = bootstrap(values), bootstrap(np.repeat(values, 10, axis=0))
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.1)


def test_seeds_that_disagree_widen_the_interval() -> None:
    values = draw(2, 5, 500)
    shift = np.linspace(-1, 1, 5)[:, None]
    alike, apart = bootstrap(values), bootstrap(values + shift)
    assert apart.high - apart.low > 3 * (alike.high - alike.low)
    assert apart.mean == pytest.approx(alike.mean)


def test_pairing_cancels_what_both_sides_share() -> None:
    users, noise = 10 * draw(3, 1, 300), 0.1 * draw(4, 1, 300)
    ours, theirs = users + 0.05 + noise, users
    assert bootstrap(ours - theirs).low > 0
    assert not bootstrap(ours).low > bootstrap(theirs).high


def test_users_without_a_value_change_nothing() -> None:
    values = draw(5, 2, 400)
    with_gaps = np.hstack([values, np.full((2, 400), np.nan)])
    full, gaps = bootstrap(values), bootstrap(with_gaps)
    assert gaps.mean == pytest.approx(full.mean)
    assert gaps.high - gaps.low == pytest.approx(full.high - full.low, rel=0.15)


def test_nothing_is_not_a_number() -> None:
    for values in (np.full((2, 3), np.nan), np.empty((0, 0)), np.empty((1, 0))):
        assert np.isnan([*vars(bootstrap(values)).values()]).all()


def test_one_user_under_one_seed_has_no_width() -> None:
    assert bootstrap(np.array([[0.5]])) == Interval(0.5, 0.5, 0.5)


def test_no_difference_at_all_is_an_interval_of_zero() -> None:
    found = bootstrap(np.zeros((3, 50)))
    assert found == Interval(0, 0, 0)


def test_the_same_call_gives_the_same_interval_and_another_seed_another() -> None:
    values = draw(6, 2, 100)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values, seed=1).low != bootstrap(values).low


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]).tolist() == [1, 1]
    assert holm([0.04]).tolist() == [0.04]
    assert holm([]).tolist() == []


def test_holm_does_not_count_what_is_not_a_number() -> None:
    np.testing.assert_array_equal(holm([np.nan, 0.02, 0.03]), [np.nan, 0.04, 0.04])


def test_holm_rejects_what_the_stepwise_procedure_rejects() -> None:
    """From the smallest p on against 0.05 / (how many are left), until one fails."""
    random = np.random.default_rng(0)
    for _ in range(200):
        p = random.random(random.integers(1, 9)) ** 4
        rejected = set()
        for left, place in zip(range(len(p), 0, -1), np.argsort(p), strict=True):
            if p[place] >= 0.05 / left:
                break
            rejected.add(int(place))
        assert set(np.flatnonzero(holm(p) < 0.05).tolist()) == rejected


def significant(gain: float, users: int = 300) -> int:
    """Of 20 repeats with three seeds; a user's noise is his own, plus some of each seed's."""
    noise = [draw(100 + repeat, 1, users) + 0.5 * draw(200 + repeat, 3, users) for repeat in range(20)]
    return sum(paired(gain + one)[1] < 0.05 for one in noise)


def test_noise_alone_is_significant_at_most_twice_in_twenty() -> None:
    assert significant(0) <= 2


def test_a_planted_effect_is_found() -> None:
    assert significant(0.3) >= 19


def test_p_values_and_intervals_agree() -> None:
    for repeat in range(40):
        interval, p = paired(0.12 + draw(300 + repeat, 1, 200))
        assert (p < 0.045) <= (interval.low > 0) <= (p < 0.055)


def test_p_is_that_of_the_normal_distribution() -> None:
    values = draw(7, 1, 2000)
    values += 1.5 * values.std() / np.sqrt(2000) - values.mean()
    assert paired(values)[1] == pytest.approx(0.1336, abs=0.03)  # two-sided, z = 1.5
    assert paired(-values)[1] == pytest.approx(paired(values)[1], abs=1e-12)


def test_p_is_never_zero_and_no_difference_at_all_is_one() -> None:
    assert paired(np.ones((1, 50)))[1] == pytest.approx(2 / 2001)
    assert paired(np.zeros((3, 50)))[1] == 1
    assert np.isnan(paired(np.full((2, 3), np.nan))[1])


def test_a_paired_interval_is_that_of_the_differences() -> None:
    values = draw(8, 2, 100)
    assert paired(values)[0] == bootstrap(values)


def test_items_weigh_what_they_bring() -> None:
    """Differences in recall per item, weighted by the item's pairs: the mean is that over pairs."""
    gains, pairs = np.array([[1.0, 0.0, np.nan]]), np.array([[1.0, 9.0, 0.0]])
    assert paired(gains, pairs, over="items")[0].mean == pytest.approx(0.1)


def test_an_item_that_brings_most_pairs_widens_the_interval() -> None:
    gains = draw(9, 1, 200)
    even, uneven = np.ones((1, 200)), np.ones((1, 200))
    uneven[0, 0] = 400
    (narrow, _), (wide, _) = (paired(gains, weights, over="items") for weights in (even, uneven))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
