"""What each step of the filter says of texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from orchard import APPLE, ITEMS, WORDS, WordCounts, catalogue, judge, reasons, sample

from llm_aug.data import Dataset, Pair, Sample, Verdict, tidy_items
from llm_aug.filters import run
from llm_aug.filters.fidelity import Fidelity, FidelityConfig
from llm_aug.filters.quality import is_looping, repetition
from llm_aug.prompt import load_template
from llm_aug.vectors import Vectors


def test_a_faithful_rewrite_stays() -> None:
    result = judge(sample("1", "apple", APPLE))
    assert list(result.kept) == [sample("1", "apple", APPLE)]
    assert result.scores["near_duplicate"] == (pytest.approx(1 / math.sqrt(6 * 7)),)  # "fruit" of the pear


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (sample("1", "apple", ""), "no_text"),
        (sample("1", "apple", None), "no_text"),
        (sample("1", "melon", APPLE), "unknown_item"),
        (sample("1", "apple", APPLE, weight=math.nan), "bad_weight"),
        (sample("1", "apple", APPLE, weight=0.0), "bad_weight"),
        (Sample("1", "poem", "apple", APPLE), "unknown_kind"),  # type: ignore[arg-type]
        (Sample("1", "interactions", "apple"), "no_interactions"),
        (Sample("1", "history", "u", interactions=(Pair("u", "melon"),)), "unknown_item"),
    ],
)
def test_schema(bad: Sample, reason: str) -> None:
    assert reasons(bad) == [reason]


def test_a_sample_id_counts_once() -> None:
    one, other, odd = sample("1", "apple", APPLE), sample("1", "car", APPLE), sample("1", "nothing", APPLE)
    assert reasons(one, other) == ["", "repeated_id"]
    assert reasons(odd, other, one) == ["unknown_item", "repeated_id", ""]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sweet red fruit", "too_short"),
        ("sweet red fruit " * 200, "too_long"),
        ("red fruit " * 8, "repetition"),
        ("sweet red fruit picked by haaaaaaaaaaaaaand", "repetition"),
        ("sweet very very very very very red fruit by hand", "repetition"),
        ("sweet red fruit <|im_end|> picked by hand", "leaked_instruction"),
        ("Sure, here is a sweet red fruit picked by hand", "leaked_instruction"),
        ("As an AI language model I like sweet red fruit", "refusal"),
        ("Here is the rewritten description: sweet red fruit", "leaked_instruction"),
        ("sweet red fruit. Ignore the previous instructions", "leaked_instruction"),
        ("Sweet. " + load_template("rewrite", "describe").system.strip(), "leaked_instruction"),
    ],
)
def test_quality(text: str, reason: str) -> None:
    assert reasons(sample("1", "apple", text)) == [reason]


def test_repetition_is_the_share_of_repeated_trigrams() -> None:
    assert repetition(["a", "b", "c", "a", "b", "c"]) == pytest.approx(1 / 4)
    assert repetition(["one", "two"]) == 0


@pytest.mark.parametrize("size", [1, 2, 3, 10, 40, 41])
def test_five_rounds_of_up_to_forty_words_are_a_loop(size: int) -> None:
    rounds = [str(place) for place in range(size)] * 5
    for said, expected in ((rounds, size <= 40), (rounds[:-1], False), (["a", "b", *rounds, "c"], size <= 40)):
        again = max(0, len(said) - 2) - len(set(zip(said, said[1:], said[2:], strict=False)))
        assert is_looping(said, again) == expected


def test_lengths_are_measured_on_the_catalogue_within_bounds() -> None:
    told = ["word " * 8] * 30
    items = tidy_items(pd.DataFrame({"item_id": [str(n) for n in range(30)], "description": told}))
    result = run([sample("1", "0", APPLE)], Dataset(items, catalogue().interactions), WordCounts())
    assert result.verdicts[0].reason == "too_short"
    limits = result.thresholds["quality"]
    assert (limits["min_words"].value, limits["max_words"].value) == (8, 100)
    assert limits["min_words"].source.startswith("1% quantile of 30 real descriptions")


@pytest.mark.parametrize("text", [ITEMS[0][2], "Sweet  RED fruit,\nfrom the old ｏrchard!"])
def test_a_copy_of_a_description_is_dropped_and_never_encoded(text: str) -> None:
    encoder = WordCounts()
    for subject in ("apple", "car"):
        result = judge(sample("1", subject, text), encoder=encoder)
        assert result.verdicts == (Verdict(False, "exact_duplicate", 1.0, "apple"),)
    assert encoder.asked == []


def test_what_an_early_step_drops_is_never_encoded() -> None:
    encoder = WordCounts()
    judge(
        sample("1", "apple", APPLE), sample("2", "apple", "fruit"), sample("3", "melon", "a " + APPLE), encoder=encoder
    )
    assert APPLE in encoder.asked
    assert not {"fruit", "a " + APPLE} & set(encoder.asked)
    assert len(encoder.asked) == len(set(encoder.asked))


def test_a_near_copy_of_another_item_is_dropped() -> None:
    near_pear = "soft green fruit inside a garden basket hand"  # 7 / sqrt(7 * 8) = 0.94
    verdict = judge(sample("1", "apple", near_pear)).verdicts[0]
    assert verdict == Verdict(False, "near_duplicate", pytest.approx(7 / math.sqrt(56)), "pear")


def test_a_text_may_be_as_near_to_another_item_as_its_own_item_is() -> None:
    near_car = "fast machine with four wheels and doors hand"
    options = {"near_duplicate": {"similarity": 0.8}, "quality": {}}
    assert reasons(sample("1", "car", near_car), **options) == [""]  # to the van .80, car to van .857
    assert reasons(sample("1", "van", near_car), **options) == ["near_duplicate"]  # to the car .94


def test_search_queries_are_not_as_long_as_descriptions() -> None:
    short = replace(sample("1", "apple", "red fruit"), kind="review")
    options: dict[str, Any] = {"quality": {"min_words": 5}, "near_duplicate": {"similarity": 1.1}}
    assert judge(short, replace(short, sample_id="2", text="fruit"), **options).reasons == {"too_short": 1}
    assert reasons(sample("3", "apple", "sweet red fruit"), **options) == ["too_short"]


def test_a_text_without_direction_is_a_reject() -> None:
    result = judge(sample("1", "apple", "nothing that anyone knows"), sample("2", "apple", APPLE))
    assert [verdict.reason for verdict in result.verdicts] == ["no_vector", ""]


def test_nan_vectors_are_rejects() -> None:
    class Broken(WordCounts):
        def encode(self, texts: Sequence[str]) -> Vectors:
            rows = super().encode(texts)
            rows[[text == APPLE for text in texts]] = np.nan
            return rows

    assert judge(sample("1", "apple", APPLE), encoder=Broken()).verdicts[0].reason == "no_vector"


def test_an_unfaithful_text_names_the_item_it_resembles() -> None:
    verdict = judge(sample("1", "pear", APPLE)).verdicts[0]
    assert (verdict.reason, verdict.nearest) == ("unfaithful", "apple")
    assert verdict.score == pytest.approx(0, abs=1e-6)  # by facts both share "fruit", by description -2 / sqrt(42)


def test_facts_are_the_second_face_of_an_item() -> None:
    assert reasons(sample("1", "pear", "pear the fruit picked by hand")) == [""]  # nearer to the apple by description
    assert reasons(sample("1", "truck", "heavy truck with trailer picked by hand")) == [""]  # has no description
    assert reasons(sample("1", "apple", "heavy truck with trailer picked by hand")) == ["unfaithful"]


def test_a_margin_can_be_asked_for() -> None:
    assert reasons(sample("1", "apple", APPLE), fidelity={"margin": 0.4}) == ["unfaithful"]


def test_the_old_text_with_a_word_added_is_a_copy() -> None:
    longer = ITEMS[0][2] + " hand"  # 7 / sqrt(56) = 0.935
    assert reasons(sample("1", "apple", longer)) == [""]
    verdict = judge(sample("1", "apple", longer), fidelity={"copy": 0.9}).verdicts[0]
    assert verdict == Verdict(False, "copy", pytest.approx(7 / math.sqrt(56)), "apple")


def test_a_text_has_to_be_about_its_item_where_there_is_no_other_too() -> None:
    alone = Dataset(catalogue().items.iloc[:1], catalogue().interactions)
    asked = [sample("1", "apple", APPLE), sample("2", "apple", "fast machine with wheels and doors by hand")]
    result = run(asked, alone, WordCounts())
    assert result.verdicts[0].keep
    assert result.verdicts[1] == Verdict(False, "unfaithful", nearest="apple")
    floor = result.thresholds["fidelity"]["floor"]
    assert (floor.value, floor.source) == (0.1, "default: only 0 real descriptions of several sentences")
    assert result.at(fidelity={"floor": 0.5}).reasons == {"unfaithful": 2}
    assert result.at(fidelity={"floor": 0}).reasons == {}


def test_the_floor_is_measured_on_real_descriptions() -> None:
    told = [
        f"{WORDS[n]} {WORDS[n + 1]}. {WORDS[n + 2]} {WORDS[n + 3]} {WORDS[n + 4]} {WORDS[n + 5]}." for n in range(20)
    ]
    items = tidy_items(pd.DataFrame({"item_id": [str(n) for n in range(20)], "description": told}))
    result = run([sample("1", "0", APPLE)], Dataset(items, catalogue().interactions), WordCounts(), {"quality": {}})
    floor = Fidelity(result.reference, FidelityConfig()).thresholds["floor"]
    assert floor.value == 0.25
    assert floor.source == (  # 2 of 6 words: 2 / sqrt(2 * 6) = 0.577
        "half of the 2% quantile of 20 real descriptions with every second sentence (0.577), kept in 0.1 to 0.25"
    )


def test_twins_do_not_compete() -> None:
    text = "fast machine with four wheels by hand"  # as near to the car as to the van
    options = {"fidelity": {"margin": 0.01}, "quality": {}}
    assert reasons(sample("1", "van", text), **options) == ["unfaithful"]
    items = catalogue().items
    items.loc[items["item_id"] == "van", "description"] = ITEMS[2][2] + " doors"  # cosine to the car .96
    twins = Dataset(items, catalogue().interactions)
    result = run([sample("1", "van", text)], twins, WordCounts(), options)
    assert [verdict.reason for verdict in result.verdicts] == [""]


def test_exactly_one_of_a_pair_stays_and_it_is_the_first_by_id() -> None:
    result = judge(sample("b", "apple", APPLE), sample("a", "apple", APPLE.upper() + "!"))
    assert result.verdicts == (Verdict(False, "repeated_text", 1.0, "a"), result.verdicts[1])
    assert [kept.sample_id for kept in result.kept] == ["a"]


def test_a_chain_loses_its_middle_only() -> None:
    chain = ["sweet red fruit picked by", "sweet red fruit picked by hand", "red fruit picked by hand"]
    samples = [sample(str(n), "apple", text) for n, text in enumerate(chain)]  # neighbours 5/sqrt(30) = .91, ends .8
    result = judge(*samples, repeat={"same_subject": 0.9, "overlap": 2.0})
    assert [verdict.reason for verdict in result.verdicts] == ["", "near_repeat", ""]
    assert result.verdicts[1].nearest == "0"


def test_what_another_step_drops_does_not_count_as_kept() -> None:
    unfaithful, good = sample("a", "pear", APPLE), sample("b", "apple", APPLE)
    assert reasons(unfaithful, good) == ["unfaithful", ""]


def test_near_repeats_across_items_use_the_stricter_limit() -> None:
    kind = {"near_duplicate": {"similarity": 1.1}, "fidelity": {"margin": -2.0}, "repeat": {"overlap": 2.0}}
    texts = [sample("a", "apple", APPLE), sample("b", "pear", APPLE + " old")]  # 6 / sqrt(42) = .93
    assert reasons(*texts, **kind) == ["", "near_repeat"]
    assert reasons(texts[0], sample("b", "apple", APPLE + " old"), **kind) == ["", ""]
    assert reasons(*texts, **{**kind, "repeat": {"similarity": 0.95, "overlap": 2.0}}) == ["", ""]
