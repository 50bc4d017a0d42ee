"""What teaches a model to review: real reviews, and wordings by rule that contradict no rating."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fruit_reviews import FRUITS, asked, dataset

from llm_aug.data import Completion, Dataset, Example, tidy_interactions, tidy_items
from llm_aug.tasks import Parsed
from llm_aug.tasks.rating import contradicts
from llm_aug.tasks.review import Review
from llm_aug.tasks.rule_reviews import by_rule


def parses(example: Example, data: Dataset) -> None:
    """The task reads its own lesson as it stands: the rating of the first line, the words of the second."""
    task = Review(pairs=[("u2", "i2")])
    (request,) = asked(task, data)
    parsed = task.parse(replace(request, prompt=example.prompt), Completion(example.answer, "stop", 9))
    assert isinstance(parsed, Parsed)
    assert parsed.interactions
    rating = parsed.interactions[0].rating
    first = "" if rating is None else f"Rating: {rating:g}\n"
    assert f"{first}Review: {parsed.text}" == example.answer


def test_reviews_teach_where_the_log_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_aug.tasks.review.ENOUGH", 2)
    data = dataset()
    said = data.interactions.assign(review=['\'Crisp and "fresh"."', None, "Too sour for\nme.", "ok"])
    examples = list(Review().examples(Dataset(data.items, said)))
    assert [example.answer for example in examples] == [
        "Rating: 5\nReview: 'Crisp and \"fresh\".", "Rating: 2\nReview: Too sour for me.",
    ]  # fmt: skip
    assert "plum (rated" not in examples[1].prompt.user
    assert "- apple (rated 5)\n- pear (rated 4)\n\nNew item:\nTitle: plum" in examples[1].prompt.user
    assert examples[1].prompt.system == asked(Review())[0].prompt.system
    for example in examples:
        parses(example, data)


def test_a_review_that_would_be_read_otherwise_teaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_aug.tasks.review.ENOUGH", 0)
    data = dataset()
    said = ["I hated this terrible thing.", "Rating: 1 is all I say of it.", "Too short", "Review: user: it is sour."]
    assert list(Review().examples(Dataset(data.items, data.interactions.assign(review=said)))) == []


def test_ratings_without_reviews_teach_by_words_made_by_rule(caplog: pytest.LogCaptureFixture) -> None:
    data = dataset(kind=["core", "core", "stone", "core", "stone", "fig"])
    examples = list(Review().examples(data))
    assert "the log has 0 reviews to learn from (column 'review'), their ratings are put in words" in caplog.text
    assert [example.answer.partition("\n")[0] for example in examples] == [
        "Rating: 5", "Rating: 4", "Rating: 2", "Rating: 1",
    ]  # fmt: skip
    for example in examples:
        parses(example, data)
    assert "- apple. core (rated 5)\n- pear. core (rated 4)\n\nNew item:\nTitle: plum" in examples[2].prompt.user
    shuffled = Dataset(data.items, data.interactions.sample(frac=1, random_state=1))
    assert list(Review().examples(shuffled)) == examples
    assert list(Review(seed=1).examples(data)) != examples
    assert list(Review().examples(dataset(ratings=False))) == []
    assert "no ratings on a scale" in caplog.text


def test_real_reviews_come_first_and_none_is_doubled() -> None:
    data = dataset()
    said = data.interactions.assign(review=["", "A firm green pear.", "", ""])
    first, *others = Review().examples(Dataset(data.items, said))
    assert first.answer == "Rating: 4\nReview: A firm green pear."
    assert {example.answer[:9] for example in others} == {"Rating: 1", "Rating: 2", "Rating: 5"}


def test_the_most_active_do_not_teach_everything() -> None:
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(40)], "title": [f"thing {n}" for n in range(40)]})
    log = pd.DataFrame({"user_id": "u1", "item_id": items["item_id"], "rating": [1.0 + n % 5 for n in range(40)]})
    assert len(list(Review().examples(Dataset(tidy_items(items), tidy_interactions(log))))) == 4


def placed(title: str, tags: list[str], place: float) -> Collection[str]:
    return {said for seed in range(300) for said in by_rule(title, tags, place, np.random.default_rng(seed))}


@pytest.mark.parametrize("place", [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("title", ["plum", "Never", "Not Without No", "Bad Waste", "Good Love", "Rating: 5!", ""])
def test_no_wording_contradicts_its_rating_whatever_the_item_is_called(title: str, place: float) -> None:
    wordings = placed(title, ["Comedy", "Bad Boys"], place)
    assert not [said for said in wordings if contradicts(said, place)]
    assert all(said.endswith((".", "please.")) and len(said.split()) >= 3 for said in wordings)
    assert "{" not in "".join(wordings)


def test_wordings_say_how_it_was_and_speak_of_the_item() -> None:
    high, mixed, low = (placed("plum", ["sweet", "stone"], place) for place in (0.9, 0.5, 0.1))
    assert min(len(high), len(mixed), len(low)) >= 24
    assert not {*high} & {*mixed} | {*mixed} & {*low} | {*high} & {*low}
    assert {"I loved plum.", "I really enjoyed plum. If you like stone and sweet, try it."} <= {*high}
    assert "I was disappointed by plum. Even if you like sweet and stone, look elsewhere." in low
    assert all(contradicts(said, 0.0) for said in high)
    assert all(contradicts(said, 1.0) for said in low)
    assert "I loved this one." in placed("", [], 1.0)
    assert "I loved a b c d e f g h." in placed("a b c d e f g h i j", [], 1.0)


def test_query_examples_are_tags_that_the_prompt_does_not_show() -> None:
    data = dataset(kind=["core", "core", "stone", "core", "stone", "fig"])
    examples = {example.prompt.user: example.answer for example in Review(style="queries").examples(data)}
    assert examples == {
        f"Title: {FRUITS[n]}": kind for n, kind in enumerate(["core", "core", "stone", "core", "stone"])
    }
    assert list(Review(style="queries").examples(dataset())) == []
