"""Who wrote alike of two items may like both: vectors count letters, so that every cosine can be worked out by eye."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llm_aug import similar_reviews as module
from llm_aug.data import Dataset, Origin, Pair, Sample, tidy_interactions, tidy_items
from llm_aug.errors import InputError, ResumeRefused, ShortOfTarget
from llm_aug.files import read_json, read_parquet
from llm_aug.similar_reviews import SimilarOptions, SimilarResult, pairs_of_similar_reviews, similar_reviews
from llm_aug.tables import samples_from
from llm_aug.vectors import unit


class Letters:
    """A text's vector: how often each letter occurs."""

    name = "letters"

    def encode(self, texts: list[str]) -> np.ndarray:
        return unit(np.array([[text.count(letter) for letter in "abcxyz"] for text in texts]).reshape(-1, 6))


def review(user: str, item: str, text: str, rating: float | None = 5.0) -> Sample:
    pair = Pair(user, item, rating=rating)
    return Sample(f"{user}/{item}", "review", item, text, (pair,), origin=Origin("review/write"))


def similar(
    *reviews: Sample, known: Collection[tuple[str, str]] = (), **options: float
) -> dict[tuple[str, str], float]:
    found, _ = pairs_of_similar_reviews(reviews, Letters(), known, SimilarOptions(**options))  # type: ignore[arg-type]
    assert len({sample.sample_id for sample in found}) == len(found)
    assert all(sample.kind == "interactions" and sample.origin.generator == "review/similar" for sample in found)
    return {(pair.user_id, pair.item_id): sample.weight for sample in found for pair in sample.interactions or ()}


def test_users_who_wrote_alike_of_two_items_may_like_each_others() -> None:
    found = similar(review("u", "1", "aab"), review("v", "2", "aab"), review("w", "3", "xyz"))
    assert found == {("u", "2"): pytest.approx(1), ("v", "1"): pytest.approx(1)}
    assert max(found.values()) <= 1
    (weight, other) = similar(review("u", "1", "aab"), review("v", "2", "ab")).values()
    assert weight == other == pytest.approx(3 / np.sqrt(10))


def test_own_reviews_the_same_item_blame_and_known_pairs_make_no_pair() -> None:
    assert similar(review("u", "1", "a"), review("u", "2", "a")) == {}
    assert similar(review("u", "1", "a"), review("v", "1", "a")) == {}
    assert similar(review("u", "1", "a", 1), review("v", "2", "a", 5), review("w", "3", "x", 5)) == {}
    assert set(similar(review("u", "1", "a"), review("v", "2", "a"), known={("u", "2")})) == {("v", "1")}
    assert set(similar(review("u", "1", "a"), review("v", "2", "a"), review("v", "1", "x"))) == {("u", "2")}
    assert similar(review("u", "1", "ab"), review("v", "2", "bcc"), floor=0.9) == {}
    assert similar(review("u", "1", ""), review("v", "2", "")) == similar() == {}
    assert similar(replace(review("u", "1", "a"), interactions=None), review("v", "2", "a")) == {}


def test_many_own_reviews_do_not_hide_a_neighbour() -> None:
    own = [review("u", f"{n}", "a") for n in range(20)]
    assert len(similar(*own, review("v", "x", "aab"), neighbours=1)) == 21  # though each of his own is nearer


def test_options_that_cannot_be() -> None:
    with pytest.raises(InputError, match="floor is above 0"):
        SimilarOptions(floor=0)


def why(*reviews: Sample, known: Collection[tuple[str, str]] = (), **options: float) -> list[str]:
    _, rejects = pairs_of_similar_reviews(reviews, Letters(), known, SimilarOptions(**options))  # type: ignore[arg-type]
    by_id = {reject.answer: reject.reason for reject in rejects}
    return [by_id.get(sample.sample_id, "") for sample in reviews]


def test_a_review_that_makes_no_pair_says_why() -> None:
    one, other = review("u", "1", "a"), review("v", "2", "a")
    assert why(one, other, review("w", "3", "x"), review("x", "4", "")) == ["", "", "alone", "no_vector"]
    assert why(one, other, review("w", "3", "a", 1.0)) == ["", "", "unfavourable"]
    assert why(one, other, review("w", "3", "a", 1.0), liked=1) == ["", "", ""]
    assert why(one, replace(other, interactions=None), replace(one, sample_id="d", kind="description")) == [
        "alone", "no_pair", "no_pair",
    ]  # fmt: skip
    assert why(one, other, known={("u", "2"), ("v", "1")}) == ["nothing_new"] * 2


def test_the_order_of_the_reviews_and_the_size_of_a_block_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(list("abcxyz"), 3)) for _ in range(60)]
    reviews = [review(f"u{n % 17}", f"{n % 13}", text) for n, text in enumerate(texts)]
    whole = pairs_of_similar_reviews(reviews, Letters())[0]  # type: ignore[arg-type]
    monkeypatch.setattr(module, "HELD", 7)
    mixed = [reviews[place] for place in random.permutation(60)]
    other = pairs_of_similar_reviews(mixed, Letters())[0]  # type: ignore[arg-type]
    assert [replace(one, weight=0) for one in whole] == [replace(one, weight=0) for one in other]
    assert [one.weight for one in whole] == pytest.approx([one.weight for one in other])
    assert len(whole) > 50


def dataset(**columns: object) -> Dataset:
    """u had 1, v had 2 and 3."""
    items = tidy_items(pd.DataFrame({"item_id": ["1", "2", "3", "4"], "title": ["one", "two", "three", "four"]}))
    log = {"user_id": ["u", "v", "v"], "item_id": ["1", "2", "3"], "rating": [5.0, 5.0, 1.0], **columns}
    return Dataset(items, tidy_interactions(pd.DataFrame(log)))


def made(output: Path, data: Dataset, *reviews: Sample, **options: float) -> tuple[SimilarResult, list[Sample]]:
    result = similar_reviews(data, reviews, Letters(), output, SimilarOptions(**options), "abc")  # type: ignore[arg-type]
    return result, samples_from(read_parquet(output / "samples.parquet"))


def test_reviews_of_the_log_become_a_folder_of_samples(tmp_path: Path) -> None:
    result, samples = made(tmp_path, dataset(review=["aab", "aab", "aab"]))
    assert result == SimilarResult(asked=3, used=2, rejected=1, pairs=2, reasons={"unfavourable": 1})
    assert [sample.sample_id for sample in samples] == ["review/similar/u/2", "review/similar/v/1"]
    assert samples[0].origin == Origin("review/similar", ("train/u/1", "train/v/2"), split_hash="abc")
    assert read_parquet(tmp_path / "rejects.parquet").to_pylist() == [
        {"subject": "3", "stage": "similar", "reason": "unfavourable", "answer": "train/v/3"}
    ]
    manifest = read_json(tmp_path / "manifest.json")
    assert (manifest["state"], manifest["counts"], manifest["config"]["encoder"]) == ("done", asdict(result), "letters")
    assert str(result) == "3 reviews = 2 used + 1 rejected (unfavourable: 1); 2 pairs"


def test_written_reviews_join_those_of_the_log(tmp_path: Path) -> None:
    result, samples = made(tmp_path, dataset(review=["aab", "", ""]), review("v", "4", "aab"))
    assert (result.asked, [sample.sample_id for sample in samples]) == (
        2, ["review/similar/u/4", "review/similar/v/1"],
    )  # fmt: skip
    before = (tmp_path / "samples.parquet").read_bytes()
    made(tmp_path, dataset(review=["aab", "", ""]), review("v", "4", "aab"))
    assert (tmp_path / "samples.parquet").read_bytes() == before
    with pytest.raises(ResumeRefused, match="another recipe"):
        made(tmp_path, dataset(review=["aab", "", ""]), review("v", "4", "ab"))
    with pytest.raises(ResumeRefused, match="options was"):
        made(tmp_path, dataset(review=["aab", "", ""]), review("v", "4", "aab"), floor=0.9)


@pytest.mark.parametrize("columns", [{}, {"review": ["", None, ""]}])
def test_without_any_review_there_is_a_way_out(tmp_path: Path, columns: dict[str, object]) -> None:
    queries = Sample("q", "review", "1", "sweet things")
    with pytest.raises(InputError, match=r"no review to compare.*--column review=THEIRS.*generate --task review"):
        made(tmp_path / "new", dataset(**columns), queries)
    assert not (tmp_path / "new").exists()


def test_reviews_of_another_split_are_refused(tmp_path: Path) -> None:
    leaky = replace(review("v", "4", "aab"), origin=Origin("review/write", split_hash="other"))
    with pytest.raises(InputError, match=r"1 reviews were made from another split .* e\.g\. v/4"):
        made(tmp_path, dataset(review=["aab", "", ""]), leaky)


def test_no_pair_is_short_of_the_target_and_the_reasons_are_there(tmp_path: Path) -> None:
    with pytest.raises(ShortOfTarget, match=r"1 reviews = 0 used \+ 1 rejected \(alone: 1\)"):
        made(tmp_path, dataset(review=["aab", "", ""]))
    assert read_parquet(tmp_path / "rejects.parquet")["reason"].to_pylist() == ["alone"]
    assert read_json(tmp_path / "manifest.json")["state"] == "done"
