"""Real and synthetic made one: six fruits, two users, and samples of every kind."""

from __future__ import annotations

import pandas as pd
import pytest

from llm_aug.data import KINDS, Dataset, Pair, Sample, tidy_interactions, tidy_items
from llm_aug.merge import merge

FRUITS = ["apple", "pear", "plum", "quince", "cherry", "fig"]


def dataset() -> Dataset:
    items = pd.DataFrame(
        {"item_id": [f"i{row}" for row in range(6)], "title": FRUITS, "description": ["Red.", *[""] * 5]}
    )
    log = pd.DataFrame(
        {"user_id": ["u1", "u2"], "item_id": ["i0", "i1"], "timestamp": [10, None], "rating": [4.5, 3.0]}
    )
    return Dataset(tidy_items(items), tidy_interactions(log))


def pairs(name: str, *found: Pair, weight: float = 1.0, kind: str = "interactions") -> Sample:
    return Sample(name, kind, found[0].item_id, interactions=found, weight=weight)


def text(name: str, subject: str, words: str, kind: str = "description") -> Sample:
    return Sample(name, kind, subject, text=words)


def test_real_rows_stay_as_they_are_and_come_first() -> None:
    merged = merge(dataset(), [pairs("a", Pair("u1", "i5")), text("b", "i1", "Green.")], weight=0.1)
    pd.testing.assert_frame_equal(merged.interactions.iloc[:2], dataset().interactions)
    assert len(merged.interactions) == 3
    pd.testing.assert_series_equal(merged.interactions.dtypes, dataset().interactions.dtypes)


def test_weights_are_the_samples_times_the_arms() -> None:
    merged = merge(dataset(), [pairs("a", Pair("u1", "i5"), weight=0.5), pairs("b", Pair("u2", "i5"))], weight=0.4)
    added = merged.interactions[merged.interactions["is_synthetic"]]
    assert list(added["weight"]) == [0.2, 0.4]
    assert list(merged.interactions["is_synthetic"]) == [False, False, True, True]


def test_a_history_brings_a_new_user_with_times_and_ratings() -> None:
    story = pairs("h", Pair("new", "i2", 100, 5.0), Pair("new", "i3", None, None), kind="history")
    added = merge(dataset(), [story]).interactions.iloc[2:]
    assert list(added["user_id"]) == ["new", "new"]
    assert added["timestamp"].tolist() == [100, pd.NA]
    assert added["rating"].iloc[0] == 5.0
    assert pd.isna(added["rating"].iloc[1])


def test_pairs_of_unknown_items_are_left_out() -> None:
    merged = merge(dataset(), [pairs("a", Pair("u1", "nowhere"), Pair("u1", "i4"))])
    assert list(merged.interactions["item_id"]) == ["i0", "i1", "i4"]
    only = merge(dataset(), [pairs("a", Pair("u1", "nowhere"))])
    pd.testing.assert_frame_equal(only.interactions, dataset().interactions)


def test_descriptions_are_appended_in_order() -> None:
    samples = [text("a", "i0", "Round."), text("b", "i3", "Sour."), text("c", "i0", "Sweet."), text("d", "no", "Lost.")]
    merged = merge(dataset(), samples)
    assert list(merged.items["description"]) == ["Red. Round. Sweet.", "", "", "Sour.", "", ""]
    assert list(merged.items["title"]) == FRUITS
    pd.testing.assert_frame_equal(merged.interactions, dataset().interactions)


def test_a_description_without_text_adds_nothing() -> None:
    assert merge(dataset(), [Sample("a", "description", "i0")]).items["description"][0] == "Red."


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_goes_to_its_place_alone(kind: str) -> None:
    sample = Sample("a", kind, "i0", text="Words.", interactions=(Pair("u9", "i0"),))
    merged = merge(dataset(), [sample])
    assert (len(merged.interactions) == 3) == (kind in ("interactions", "history", "review"))
    assert (merged.items["description"][0] == "Red. Words.") == (kind == "description")


def review(name: str, user: str, item: str, rating: float | None, weight: float = 1.0) -> Sample:
    return Sample(name, "review", item, "Words.", (Pair(user, item, rating=rating),), weight)


def added(*samples: Sample, log: pd.DataFrame | None = None) -> list[tuple[str, str, float]]:
    data = dataset() if log is None else Dataset(dataset().items, tidy_interactions(log))
    rows = merge(data, samples).interactions.iloc[len(data.interactions) :]
    assert rows["is_synthetic"].all()
    return list(zip(rows["user_id"], rows["item_id"], rows["weight"], strict=True))


@pytest.mark.parametrize(
    ("user", "rating", "stays"),
    [
        ("u1", 4.5, True),  # his own mean
        ("u1", 4.0, False),
        ("u2", 3.0, True),
        ("u2", 2.5, False),
        ("u9", 4.0, True),  # of nobody we know: the log's mean is 3.75
        ("u9", 3.5, False),
        ("u1", None, True),
    ],
)
def test_a_review_brings_its_pair_where_the_user_liked_the_item(user: str, rating: float | None, stays: bool) -> None:
    assert added(review("a", user, "i5", rating, 0.5)) == ([(user, "i5", 0.5)] if stays else [])


def test_in_a_log_without_ratings_every_review_counts_as_every_event_does() -> None:
    log = pd.DataFrame({"user_id": ["u1"], "item_id": ["i0"]})
    assert added(review("a", "u1", "i5", 1.0), review("b", "u1", "i4", None), log=log) == [
        ("u1", "i5", 1.0), ("u1", "i4", 1.0),
    ]  # fmt: skip


def test_a_reviewed_pair_comes_once_and_not_beside_another_of_its_kind() -> None:
    assert added(review("a", "u2", "i5", 1.0, 0.2), review("b", "u2", "i5", 5.0, 0.4)) == [
        ("u2", "i5", pytest.approx(0.3))
    ]
    assert added(review("a", "u2", "i5", 1.0), review("b", "u2", "i5", 4.0)) == []
    assert added(review("a", "u2", "i1", 5.0)) == []  # he has it
    assert added(review("a", "u2", "i5", 5.0), pairs("b", Pair("u2", "i5"), weight=0.7)) == [("u2", "i5", 0.7)]
    queries = Sample("q", "review", "i5", "red fruit")
    assert added(queries, review("a", "u2", "nowhere", 5.0)) == []


def test_what_users_wrote_stays_and_synthetic_rows_say_nothing() -> None:
    data = dataset()
    said = tidy_interactions(data.interactions.assign(review=["Crisp.", ""]))
    merged = merge(Dataset(data.items, said), [pairs("a", Pair("u1", "i5")), review("b", "u1", "i4", 5.0)])
    assert list(merged.interactions["review"]) == ["Crisp.", "", "", ""]
    assert "review" not in merge(data, [review("b", "u1", "i4", 5.0)]).interactions


def test_nothing_to_merge() -> None:
    merged = merge(dataset(), iter([]))
    pd.testing.assert_frame_equal(merged.items, dataset().items)
    pd.testing.assert_frame_equal(merged.interactions, dataset().interactions)


def test_the_input_is_not_changed() -> None:
    before = dataset()
    merge(before, [pairs("a", Pair("u1", "i5")), text("b", "i0", "Round.")])
    pd.testing.assert_frame_equal(before.items, dataset().items)
    pd.testing.assert_frame_equal(before.interactions, dataset().interactions)


def test_an_empty_log_takes_pairs() -> None:
    nothing = Dataset(dataset().items, tidy_interactions(pd.DataFrame({"user_id": [], "item_id": []})))
    merged = merge(nothing, [pairs("a", Pair("u1", "i5", 7))])
    assert merged.interactions[["user_id", "item_id", "timestamp"]].to_numpy().tolist() == [["u1", "i5", 7]]


def test_braces_and_bars_in_a_description_stay() -> None:
    merged = merge(dataset(), [text("a", "i1", "{{ 7 * 7 }} | {x}")])
    assert merged.items["description"][1] == "{{ 7 * 7 }} | {x}"


def test_a_missing_attribute_is_filled_and_a_known_one_stays() -> None:
    genres = ["", "Drama", "(no genres listed)"]
    items = tidy_items(pd.DataFrame({"item_id": ["a", "b", "c"], "title": ["A", "B", "C"], "genres": genres}))
    data = Dataset(items, tidy_interactions(pd.DataFrame({"user_id": [], "item_id": []})))
    told = [("a", "genres: Comedy|War"), ("a", "genres: Crime"), ("b", "genres: War"), ("c", "genres: War")]
    told += [("z", "genres: War"), ("a", "year: 1995")]
    samples = [Sample(str(n), "attributes", item, text=text) for n, (item, text) in enumerate(told)]
    assert list(merge(data, samples).items["genres"]) == ["Comedy|War", "Drama", "War"]
    assert list(items["genres"]) == genres
