"""The probe set of the bundled films, with descriptions made of their facts, and the parts that it is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval.bench import probe_texts as texts
from eval.bench.probe_words import address, card, luhn, phone
from eval.bench.probes import DATA, Probe, judged, measure, probes, table
from llm_aug import sources
from llm_aug.clean import clean
from llm_aug.data import Dataset, Verdict
from llm_aug.filters import FILTERS, personal
from llm_aug.filters.reference import Reference
from llm_aug.ingredients import source
from llm_aug.text import normalised
from llm_aug.vectors import load_encoder

TEXT = "When Ann wakes, her friends are gone. She must find all of them, but a storm begins. Only the old dog helps."


def drawn() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def films() -> Dataset:
    """A thousand of them: 'Heat was made in 1995 by the director Michael Mann. It is a film of ...'"""
    whole = clean(sources.read(source("builtin:movielens"))).dataset
    items = whole.items[whole.items["cast"] != ""].head(1000).reset_index(drop=True)
    told = [
        f"{row.title} was made in {row.year} by the director {row.director}. Its many friends call it a film of "
        f"{row.genres}. All of the leading parts are played by {row.cast}. One must see it at home, but only once."
        for row in items.itertuples()
    ]
    log = whole.interactions[whole.interactions["item_id"].isin(items["item_id"])]
    return Dataset(items.assign(description=told), log.reset_index(drop=True))


@pytest.fixture(scope="module")
def found(films: Dataset) -> list[tuple[Probe, Verdict]]:
    planted = probes(films, 8)
    return list(zip(planted, judged(planted, Reference(films, load_encoder("hash:256"))), strict=True))


@pytest.mark.parametrize("kind", ["exact: case", "exact: spacing", "exact: full width", "swapped: raw"])
def test_every_exact_duplicate_is_caught_for_what_it_is(found: list[tuple[Probe, Verdict]], kind: str) -> None:
    reasons = [verdict.reason for probe, verdict in found if probe.kind == kind]
    assert reasons == ["exact_duplicate"] * 8


def test_every_repeated_text_is_caught(found: list[tuple[Probe, Verdict]]) -> None:
    assert [verdict.keep for probe, verdict in found if probe.kind.startswith("repeat: ")] == [False] * 24


def test_every_swapped_text_is_caught(found: list[tuple[Probe, Verdict]]) -> None:
    assert [verdict.keep for probe, verdict in found if probe.kind == "swapped: paraphrase"] == [False] * 8


@pytest.mark.skipif("privacy" not in FILTERS, reason="there is no privacy step yet")
def test_all_personal_data_is_caught(found: list[tuple[Probe, Verdict]]) -> None:
    reasons = [verdict.reason for probe, verdict in found if probe.kind.startswith("personal: ")]
    assert reasons == ["personal_data"] * 32


def test_a_probe_set_is_the_same_each_time_and_another_by_another_seed(films: Dataset) -> None:
    few = probes(films, 2)
    assert few == probes(films, 2)
    assert few != probes(films, 2, seed=1)
    assert {probe.kind for probe in few} >= {"truncated", "hostile: script", "other language", "kept text, 5%"}


def test_figures_of_three_rows_by_hand() -> None:
    planted = [
        Probe("loop", "1", "", ("repetition",)),
        Probe("loop", "2", "", ("repetition",)),
        Probe("clean", "3", ""),
    ]
    told = measure(planted, [Verdict(False, "repetition"), Verdict(False, "copy"), Verdict(False, "copy")])
    assert (told.rows, told.clean_dropped) == (3, 100)
    assert (told.kinds["loop"].rows, told.kinds["loop"].caught, told.kinds["loop"].as_expected) == (2, 2, 1)
    repetition, copied = told.reasons["repetition"], told.reasons["copy"]
    assert (repetition.dropped, repetition.precision, repetition.recall) == (1, 100, 50)
    assert (copied.dropped, copied.precision, copied.recall) == (2, 0, None)
    assert "  loop                      2       2            1  repetition 1, copy 1" in table("three", told)


def test_a_paraphrase_says_the_same_in_other_words() -> None:
    said = texts.paraphrase(TEXT, drawn(), "clauses")
    assert said is not None
    assert "gone at the time that Ann wakes." in said
    assert "all of them. Yet a storm" in said
    assert texts.changed_share(said, TEXT) >= texts.CHANGED
    fewer = texts.paraphrase(TEXT, drawn(), "sentences")
    assert fewer is not None
    assert len(fewer) < len(said)
    assert texts.paraphrase("Zebras graze there.", drawn()) is None


def test_numbers_in_words_and_units_of_another_kind() -> None:
    told = "A box of 24 pens and 3 caps (12 per pack), 8.5 inches long, item 5 A."
    assert texts.with_numbers_in_words(told, drawn()) == told.replace("24", "twenty-four").replace(
        " 3", " three"
    ).replace("(12", "(twelve")
    assert texts.with_numbers_in_words("No number.", drawn()) is None
    changed = texts.other_unit(told, drawn())
    assert changed is not None
    assert changed.startswith("A box of 24 pens and 3 caps (12 per pack), 8.5 ")
    assert "inch" not in changed
    assert texts.other_unit("24 pens", drawn()) is None


@pytest.mark.parametrize("kind", ["address", "phone"])
def test_each_rule_is_needed(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    make = {"address": address, "phone": phone}[kind]
    said = [make(np.random.default_rng(seed)) for seed in range(80)]
    assert all(personal.found(text, list(personal.RULES)) for text in said)
    for rule in personal.RULES["address"] if kind == "address" else ():
        monkeypatch.setattr(personal, "RULES", {"address": [one for one in personal.RULES["address"] if one != rule]})
        assert any(not personal.found(text, ["address"]) for text in said), rule
        monkeypatch.undo()


def test_copies_read_the_same_and_are_not() -> None:
    for make in (texts.other_case, texts.other_spacing, texts.other_form):
        assert make(TEXT, drawn()) != TEXT
        assert normalised(make(TEXT, drawn())) == normalised(TEXT)


def test_the_share_of_edited_words_is_what_was_asked() -> None:
    long = " ".join(f"w{n}" for n in range(100))
    changed = [texts.changed_share(texts.edited(long, share, ["new"], drawn()), long) for share in (0.01, 0.1, 0.2)]
    assert changed == sorted(changed)
    assert changed[-1] <= 0.2
    assert texts.edited("one end.", 0.01, ["new"], drawn()) in ("new end.", "one end.", "end.")


def test_a_card_number_passes_its_check() -> None:
    assert luhn("453957876362148") == "6"
    assert sum(sign.isdigit() for sign in card(drawn())) == 16


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["amazon-office", "movies-ml-latest-small"])
def test_real_catalogues_lose_few_clean_rows_and_catch_what_must_be_caught(name: str) -> None:
    if not (Path(DATA) / name).is_dir():
        pytest.skip("the development data are not there")
    films = clean(sources.read(DATA / name)).dataset
    planted = probes(films, 50)
    assert len(planted) >= 2000
    told = measure(planted, judged(planted, Reference(films, load_encoder("hash:512"))))
    assert told.clean_dropped <= 5
    for kind, one in told.kinds.items():
        if kind.startswith(("exact", "repeat", "swapped", "personal" if "privacy" in FILTERS else "exact")):
            assert one.caught == one.rows, kind
