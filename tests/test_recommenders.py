"""What every student must do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from students import column, fit, users_of, with_pairs

from llm_aug.data import Dataset, Split, tidy_interactions, tidy_items
from llm_aug.errors import InputError
from recommender import STUDENTS, make_student
from recommender.matrix import to_log
from recommender.search_space import Range

COLLABORATIVE = ("popularity", "ials", "ease", "bpr", "lightgcn", "mf", "autorec", "mult-vae")


PERSONAL = tuple(name for name in STUDENTS if name != "popularity")


# students that draw random numbers


DRAWING = (
    "ials",
    "two-tower",
    "content-tower",
    "fusion",
    "bpr",
    "lightgcn",
    "mf",
    "mlp",
    "logistic",
    "linear",
    "autorec",
    "mult-vae",
    "gru",
    "sasrec",
)


def z(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores of different fits on one scale."""
    return (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)


@pytest.mark.parametrize("name", STUDENTS)
def test_scores_are_finite_and_have_the_shape_of_users_and_catalogue(name: str, tastes: Split) -> None:
    users = [*users_of(tastes), "nobody"]
    model = fit(name, tastes.training)
    scores = model.scores(users)
    assert (scores.shape, scores.dtype) == ((len(users), len(tastes.items)), np.float32)
    assert np.isfinite(scores).all()
    assert np.isfinite(model.scores(["nobody", "no one"])).all()
    assert model.scores([]).shape == (0, len(tastes.items))


@pytest.mark.parametrize("name", STUDENTS)
def test_a_score_does_not_depend_on_who_else_is_asked_for(name: str, tastes: Split) -> None:
    model, users = fit(name, tastes.training), users_of(tastes)
    backwards = model.scores(users[::-1])[::-1]
    np.testing.assert_allclose(model.scores(users), backwards, atol=1e-5)
    np.testing.assert_allclose(model.scores(users)[[3]], model.scores(users[3:4]), atol=1e-5)


@pytest.mark.parametrize("name", STUDENTS)
def test_the_same_data_and_seed_give_the_same_scores(name: str, tastes: Split) -> None:
    one, same = (fit(name, tastes.training, seed=3).scores(users_of(tastes)) for _ in range(2))
    assert np.array_equal(one, same)
    shuffled = Dataset(tastes.items, tastes.train.sample(frac=1, random_state=0))
    assert np.array_equal(one, fit(name, shuffled, seed=3).scores(users_of(tastes)))


@pytest.mark.parametrize("name", DRAWING)
def test_another_seed_gives_another_fit(name: str, tastes: Split) -> None:
    one, other = (fit(name, tastes.training, seed).scores(users_of(tastes)) for seed in (0, 1))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", STUDENTS)
def test_variants_are_fitted_and_leave_the_model_as_it_was(name: str, tastes: Split) -> None:
    model, users = fit(name, tastes.training), users_of(tastes)[:5]
    before = model.scores(users)
    variants = list(model.variants())
    assert np.array_equal(variants[0].scores(users), before)
    for variant in variants:
        assert variant.scores(users).shape == before.shape
        assert np.isfinite(variant.scores(users)).all()
    assert np.array_equal(model.scores(users), before)
    distinct = {variant.scores(users).tobytes() for variant in variants}
    assert len(distinct) == len(variants)  # a variant that changes nothing is a waste of tuning


@pytest.mark.parametrize("name", STUDENTS)
def test_the_search_space_holds_options_of_the_student(name: str) -> None:
    for option, values in make_student(name, {}).SPACE.items():
        make_student(name, {option: values.at(0.5) if isinstance(values, Range) else values[0]})


@pytest.mark.parametrize("name", STUDENTS)
def test_users_and_items_with_a_single_interaction(name: str) -> None:
    items = tidy_items(pd.DataFrame({"item_id": ["a", "b", "c"], "title": ["red fruit", "red car", "blue car"]}))
    log = tidy_interactions(pd.DataFrame({"user_id": ["ann", "bob"], "item_id": ["a", "b"]}))
    assert np.isfinite(fit(name, Dataset(items, log)).scores(["ann", "bob", "nobody"])).all()
    assert np.isfinite(fit(name, Dataset(items, log[:1])).scores(["ann", "nobody"])).all()


@pytest.mark.parametrize("name", STUDENTS)
def test_a_catalogue_without_interactions_is_refused(name: str) -> None:
    items = tidy_items(pd.DataFrame({"item_id": ["a", "b"], "title": ["red fruit", "blue car"]}))
    nothing = tidy_interactions(pd.DataFrame({"user_id": [], "item_id": []}))
    with pytest.raises(InputError, match="no interactions to learn from"):
        fit(name, Dataset(items, nothing))


# direct is no model of warm items: without pairs it ranks them by popularity


@pytest.mark.parametrize("name", [name for name in PERSONAL if name != "direct"])
def test_users_of_a_taste_prefer_the_warm_items_of_it(name: str, tastes: Split) -> None:
    users, scores = users_of(tastes), fit(name, tastes.training).scores(users_of(tastes))
    taste = np.array([int(user[1:]) % 4 for user in users])
    kind = np.array([int(item[1:]) % 4 for item in tastes.items["item_id"]])
    warm = tastes.items["item_id"].isin(tastes.train["item_id"]).to_numpy()
    own = (taste[:, None] == kind) & warm
    other = (taste[:, None] != kind) & warm
    assert scores[own].mean() > scores[other].mean() + scores[:, warm].std() / 2


@pytest.mark.parametrize("name", COLLABORATIVE)
def test_cold_items_score_the_same_for_all_users_without_pairs(name: str, tastes: Split) -> None:
    cold = [column(tastes, item) for item in tastes.cold_items]
    scores = fit(name, tastes.training).scores(users_of(tastes))[:, cold]
    assert np.ptp(scores) < 1e-5
    assert scores.max() <= 1e-5


LOWERED = pytest.mark.xfail(
    reason="half of the users of such a pair see its item fall; the cause is not known", strict=True
)


@pytest.mark.parametrize("name", [pytest.param(n, marks=LOWERED) if n == "sasrec" else n for n in STUDENTS])
def test_synthetic_pairs_raise_their_item_for_their_users(name: str, tastes: Split) -> None:
    item, users = tastes.cold_items[0], users_of(tastes)
    some = users[:6]
    plain = z(fit(name, tastes.training).scores(users))
    merged = z(fit(name, with_pairs(tastes, [(user, item) for user in some])).scores(users))
    rise = (merged - plain)[:, column(tastes, item)]
    assert rise[:6].min() > 0
    if name in PERSONAL:
        assert rise[:6].mean() > rise[6:].mean()


@pytest.mark.parametrize("name", STUDENTS)
def test_a_heavier_pair_raises_more_and_a_weightless_one_does_nothing(name: str, tastes: Split) -> None:
    item, users = tastes.cold_items[0], users_of(tastes)
    pairs = [(user, item) for user in users[:6]]
    nothing, zero, light, heavy = (
        fit(name, data).scores(users)
        for data in (
            tastes.training,
            with_pairs(tastes, pairs, 0),
            with_pairs(tastes, pairs, 0.1),
            with_pairs(tastes, pairs, 1),
        )
    )
    assert np.array_equal(nothing, zero)
    at = column(tastes, item)
    assert z(light)[:6, at].mean() < z(heavy)[:6, at].mean()


@pytest.mark.parametrize(
    "name", ["content", "two-tower", "content-tower", "fusion", "gru", "sasrec", "mlp", "logistic", "linear"]
)
def test_text_carries_cold_items(name: str, tastes: Split) -> None:
    users, scores = users_of(tastes), fit(name, tastes.training).scores(users_of(tastes))
    for item in tastes.cold_items:
        same = [int(user[1:]) % 4 == int(item[1:]) % 4 for user in users]
        at = scores[:, column(tastes, item)]
        assert at[same].mean() > at[np.logical_not(same)].mean(), item


def test_an_unknown_student_or_option_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="no student 'eas'; did you mean 'ease'"):
        make_student("eas", {})
    with pytest.raises(InputError, match="'ials' has no option 'factor'; did you mean 'factors'"):
        make_student("ials", {"factor": 8})
    with pytest.raises(InputError, match="'popularity' has no option 'seed'"):
        make_student("popularity", {"seed": 1})


def test_the_seed_goes_to_students_that_have_one() -> None:
    assert make_student("ials", {}, seed=7).seed == 7  # type: ignore[attr-defined]
    assert make_student("ials", {"seed": 3}, seed=7).seed == 3  # type: ignore[attr-defined]
    make_student("ease", {}, seed=7)


def test_a_log_keeps_the_larger_weight_and_the_order_of_the_catalogue() -> None:
    items = tidy_items(pd.DataFrame({"item_id": ["pear", "apple", "fig"]}))
    rows = pd.DataFrame(
        [
            ("bob", "apple", 1.0, False),
            ("bob", "apple", 0.3, True),  # the real row is there already
            ("ann", "fig", 0.2, True),
            ("ann", "fig", 0.6, True),
            ("ann", "pear", 0.0, True),
            ("ann", "quince", 1.0, True),  # not in the catalogue
        ],
        columns=["user_id", "item_id", "weight", "is_synthetic"],
    )
    log = to_log(Dataset(items, tidy_interactions(rows)))
    assert (list(log.users), list(log.items)) == (["ann", "bob"], ["pear", "apple", "fig"])
    np.testing.assert_allclose(log.matrix.toarray(), [[0, 0, 0.6], [0, 1, 0]], atol=1e-6)
    assert log.warm.tolist() == [False, True, True]
    np.testing.assert_allclose(log.rows(["nobody", "bob"]).toarray(), [[0, 0, 0], [0, 1, 0]])
