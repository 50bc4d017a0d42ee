"""A shop of twenty pens: what a rewrite says beyond its own row is named."""

from __future__ import annotations

import pandas as pd
import pytest

from llm_aug.data import Dataset, Sample, Verdict, tidy_interactions, tidy_items
from llm_aug.facts import Vocabulary, canonical, invented_names, invented_numbers, known, lost_quantities
from llm_aug.filters.facts import Facts, FactsConfig
from llm_aug.filters.reference import Reference
from llm_aug.vectors import load_encoder

PEN = "The Pilot gel pen has a 7 mm tip and works with Brother labels. Great for school."
PROSE = "a great pen for the school and the office, with a soft grip and black ink for paper"


def catalogue(count: int = 20) -> Dataset:
    rows = [{"item_id": "0", "title": "Pilot Pen IV, Pack of 12", "description": PEN, "brand": "Pilot", "year": "1995"}]
    brands = ["Brother", "Sharpie", "Paper Mate"]
    rows += [
        {
            "item_id": str(n),
            "title": f"Pen {n}",
            "description": PROSE + " by our brother" * (n % 3 == 0),
            "brand": brands[n % 3],
            "year": "2001",
        }
        for n in range(1, count)
    ]
    nobody = tidy_interactions(pd.DataFrame(columns=["user_id", "item_id"]))
    return Dataset(tidy_items(pd.DataFrame(rows)), nobody)


def verdict(text: str, count: int = 20, **options: float) -> Verdict:
    step = Facts(Reference(catalogue(count), load_encoder("letters:8")), FactsConfig(**options))  # type: ignore[arg-type]
    return step.judge([Sample("1", "description", "0", text)])[0]


def test_its_own_text_in_other_words_stays() -> None:
    assert verdict(PEN) == Verdict(True, score=0.0)
    assert verdict("Great for School: a soft gel pen by PILOT, 7-millimeter tip, twelve pens from the 1990s").keep


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("The Pilot gel pen has a 9 mm tip.", "9 mm"),
        ("The Pilot gel pen has a 7 inch tip.", "7 inch"),  # the row has 7 mm
        ("A pack of 1,200 Pilot pens.", "1200"),
        ("The Pilot gel pen comes with three refills.", "three"),
        ("A gel pen of the 1980s.", "1980"),
        ("A gel pen of 1996.", "1996"),
    ],
)
def test_an_invented_number_falls(text: str, token: str) -> None:
    assert verdict(text) == Verdict(False, "invented_number", 1.0, token)


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("A gel pen made by Sharpie for school.", "Sharpie"),
        ("Sharpie makes a gel pen for school.", "Sharpie"),  # at a sentence's start: a name of the catalogue
        ("A gel pen made by Zorbex for school.", "Zorbex"),
        ("A gel pen by Paper Mate for school.", "Mate"),
    ],
)
def test_an_invented_name_falls(text: str, token: str) -> None:
    assert verdict(text) == Verdict(False, "invented_name", 1.0, token)


def test_a_brand_of_common_words_is_a_name_where_it_stands_alone() -> None:
    step = Facts(Reference(catalogue(), load_encoder("letters:8")), FactsConfig())
    text = "A pen that fits all Brother printers."
    found = step.judge([Sample("1", "description", "1", text), Sample("2", "description", "2", text)])
    assert [one.reason for one in found] == ["invented_name", "invented_name"]  # pens of Sharpie and of Paper Mate
    assert step.judge([Sample("3", "description", "3", text)])[0].keep  # a pen of Brother
    assert verdict(text).keep  # works with Brother labels


def test_thresholds_can_be_moved() -> None:
    assert verdict("A gel pen made by Zorbex.", names=1).score == 1.0
    assert verdict("A 9 mm gel pen.", numbers=1).keep
    assert verdict("A gel pen for school.").keep
    lost = verdict("A gel pen for school.", lost=0.5)
    assert lost == Verdict(False, "lost_fact", 1.0, "7 mm")


def test_a_small_catalogue_cannot_tell_names() -> None:
    assert verdict("A Wooden pen.", count=19).keep
    assert not verdict("A Wooden pen.", count=19, names=0).keep
    assert not verdict("A 9 mm pen.", count=19).keep


@pytest.mark.parametrize(
    ("one", "other"), [("1,000", "1000"), ("112.0", "112"), ("2,5", "2.50"), ("007", "7"), ("0", "0.0"), ("10", "10")]
)
def test_numbers_have_one_spelling(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("Rocky IV", "the fourth part, 4 of them"),
        ("Part 4", "rocky Part IV"),
        ("a dozen", "12 pieces"),
        ("twenty-four sheets", "24 sheets"),
        ("24 sheets", "twenty-four sheets"),
        ('an 8" lid', "8 inches"),
        ("7-1/4in wide", "7.25 inches, 1/4"),
        ("made in 1994", "of the 1990s, the '90s"),
        ("a couple", "two people"),
        ("Woody and Buzz", "the two of them, one a toy, first seen"),
        ("a 600D cloth", "600D"),
        ("1.000 Blatt, 2.500,50 Euro", "1000 Blatt, 2500,50 Euro"),
        ("1000 Blatt", "1.000 Blatt"),
        ("1.250 kg", "1250 kg or 1.25 of them"),
        ("200 pens", "two hundred pens"),
        ("two hundred pens, three thousand five hundred and six caps", "200 pens, 3506 caps"),
        ("5,000,000 copies", "5 million copies, five million of them"),
        ("1.5 million copies, nine million", "1,500,000 copies of 9000000"),
        ("the war of 1939-1945", "1939–45"),
        ("the war of 1939-45", "from 1939 to 1945"),
        ("sizes 3, 4", "sizes 3,4"),
        ("sizes 3,4", "sizes 3, 4"),
        ("8.5 x 11", "8-1/2 x 11, 8½ x 11"),
        ("8½ x 11", "8.5 x 11"),
        ("8.33 feet", "8 1/3 feet"),
        ("two thousand people", "a couple of thousand people"),
        ('8" tall', "8 inches"),
        ('the "Apollo 13" flight', "13 days"),
        ("2 l", "2 liters or 2 litres"),
        ("容量500毫升", "500 ml"),
        ("3M tape", "3 inch"),
    ],
)
def test_the_row_bears_it_out(row: str, text: str) -> None:
    assert invented_numbers(text, known(row)) == []


@pytest.mark.parametrize(
    ("row", "text", "odd"),
    [
        ("1.000 Blatt", "1 Blatt", "1"),
        ("5 million copies", "5 copies", "5"),
        ("two hundred pens", "two pens", "two"),
        ("the war of 1939-45", "1939-46", "46"),
        ("8.5 x 11", "8-1/4 x 11", "8"),
        ('8" long', "8 pounds", "8 pounds"),
        ('11"W x 8"H', "8 feet", "8 feet"),
        ("600 dpi", "600 ppm", "600 ppm"),
        ("20 meters", "20 feet", "20 feet"),
        ("5 liters", "5 gallons", "5 gallons"),
        ("1/200 of 1 in 6", "1/5000 of it", "5000"),
        ("3/32 of an inch", "5/55 of an inch", "5"),
        ("two hundred pens", "a thousand pens", "thousand"),
        ("500 GB", "500 TB", "500 TB"),
        ("容量500毫升的杯子", "容量500升的杯子", "500升"),
        ("保温12小时。", "保温12天。", "12天"),
    ],
)
def test_the_row_says_something_else(row: str, text: str, odd: str) -> None:
    assert invented_numbers(text, known(row))[:1] == [odd]


def test_a_spelled_number_is_told_as_it_is_written() -> None:
    assert invented_numbers("Two f\u0131ve-packs of Twenty-Four", known("a box")) == ["Two", "Twenty-Four"]


def test_a_line_begins_with_a_capital_as_a_sentence_does() -> None:
    words = Vocabulary.of(["a pen"], [], [])
    assert invented_names("a pen\n Writes well", known("a pen"), words) == []
    assert invented_names("a pen Writes well", known("a pen"), words) == ["Writes"]


def test_names_are_known_by_more_than_one_form() -> None:
    words = Vocabulary.of(["a film of the war"], [], [])
    row = known("Spider-Man in Japan, by Téa Leoni. Rocky IV")
    assert invented_names("the Spiderman of a Japanese Tea, by Leoni's, in Rocky IV", row, words) == []
    assert invented_names("the War of Ann and Bob", row, words) == ["Ann", "Bob"]
    assert invented_names("a film of O'Brien and d’Artagnan", known("O’Brien, D'Artagnan"), words) == []
    assert invented_names("a film of O'Brien that I'm in, and so am I", known("Mr. O'Neil"), words) == ["O'Brien"]


def test_measures_that_are_gone_are_counted() -> None:
    assert lost_quantities("8 inch, 2 kg and 5 pens", "it weighs two kilograms") == (["8 inch"], 2)


def test_a_sentence_may_begin_with_it_where_a_title_is_it() -> None:
    words = Vocabulary.of([], ["It", "Amadeus"], ["Drama"])
    row = known("Amadeus. Drama. 1984. Tom Hulce")
    assert invented_names("Amadeus is a mix of Drama. It came out in 1984.", row, words) == []
    assert invented_names("Amadeus has It and Tom Hulce.", row, words) == ["It"]


LAMPS = [
    "Die Lampe beleuchtet den Arbeitsplatz mit warmem Licht und dreht ihren Arm.",
    "Der Ordner fasst viele Unterlagen und steht sicher im Regal an der Wand.",
]


def test_where_every_noun_has_a_capital_it_tells_no_name() -> None:
    rows = [{"item_id": str(n), "title": "Leuchte", "description": LAMPS[n % 2]} for n in range(20)]
    nobody = tidy_interactions(pd.DataFrame(columns=["user_id", "item_id"]))
    shop = Reference(Dataset(tidy_items(pd.DataFrame(rows)), nobody), load_encoder("letters:8"))
    german = Sample(
        "1", "description", "0", "Warmes Licht für den Schreibtisch: Die Leuchte hat eine bewegliche Stange."
    )
    step = Facts(shop, FactsConfig())
    assert step.judge([german])[0].keep
    assert step.thresholds["names"].source == (
        "default: 35% of the words inside sentences have a capital letter, so it tells no name"
    )
    assert Facts(shop, FactsConfig(names=0)).judge([german])[0].reason == "invented_name"
    assert Vocabulary.of([PROSE, PEN], [], []).capitals < 0.25


def test_a_spanish_sentence_begins_with_a_mark() -> None:
    words = Vocabulary.of(["una taza"], [], [])
    assert invented_names("una taza ¡Saborea! y ¿quieres? ¿Quieres?", known("una taza"), words) == []


def test_a_name_may_touch_chinese() -> None:
    words = Vocabulary.of(["采用蓝牙技术的耳机。"], [], [])
    assert invented_names("耳机采用Zovrentik技术，由Quamorda公司制造。", known("耳机"), words) == [
        "Zovrentik",
        "Quamorda",
    ]
    assert invented_names("这款耳机采用 Bluetooth 技术。", known("采用Bluetooth技术的耳机"), words) == []
    assert invented_names("这款耳机采用Bluetooth技术。", known("采用 Bluetooth 技术的耳机"), words) == []
