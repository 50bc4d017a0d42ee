"""Ten films and how people write their titles; and the trie that lets a model write no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from llm_aug.data import tidy_items
from llm_aug.errors import InputError
from llm_aug.tasks.grounding import Grounded, Grounding, key, lines, moment, numbers, readings, release_column, shown
from llm_aug.vectors import Vectors, unit

FILMS = {
    "toy": ("Toy Story", "1995"),
    "toy2": ("Toy Story 2", "1999"),
    "heat": ("Heat", "1995"),
    "heat86": ("Heat", "1986"),
    "matrix": ("Matrix, The", "1999"),
    "angry": ("12 Angry Men", "1957"),
    "alien": ("Alien: Resurrection", "1997"),
    "rocky": ("Rocky III", "1982"),
    "brothers": ("The Brothers Karamazov of Old Moscow", ""),
    "whale": ('The "Great" White Whale {{ title }}', "1970"),
}


def films(rows: dict[str, tuple[str, str]] = FILMS) -> pd.DataFrame:
    return tidy_items(
        pd.DataFrame(
            [(item, title, year) for item, (title, year) in rows.items()], columns=["item_id", "title", "year"]
        )
    )


def grounding(rows: dict[str, tuple[str, str]] = FILMS, **options: Any) -> Grounding:
    return Grounding(films(rows), release="year", **options)


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("Toy Story", "toy"),
        ("1. toy story", "toy"),
        ("(1) Toy Story", "toy"),
        ("- **Toy Story** (1995): a boy's toys come alive", "toy"),
        ('* "Toy Story" is a film for all', "toy"),
        ("Toy Story - a film about toys", "toy"),
        ("Toy Story (still a joy)", "toy"),
        ("3) Title: Toy Story 2 (2000)", "toy2"),
        ("The Matrix", "matrix"),
        ("MATRIX, THE", "matrix"),
        ("The Matrix (1999) - I love it.", "matrix"),
        ("12 Angry Men", "angry"),
        ("2. 12 Angry Men", "angry"),
        ("Alien - Resurrection", "alien"),
        ("Heat (1986)", "heat86"),
        ("Heat (1995)", "heat"),
        ("Heat (1994)", "heat"),
        ("The Brothers Karamazov of Old Moscow (1958)", "brothers"),
        ('The "Great" White Whale {{ title }}', "whale"),
    ],
)
def test_titles_are_read_as_people_write_them(line: str, item: str) -> None:
    assert grounding().ground(line) == Grounded(item)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Heat", "ambiguous"),
        ("Heat (2013)", "other_year"),
        ("Toy Story (1970)", "other_year"),
        ("Toy Story 3", "ungrounded"),
        ("Toy", "ungrounded"),
        ("Rocky II", "ungrounded"),
        ("Alien", "ungrounded"),
        ("...", "ungrounded"),
        ("", "ungrounded"),
        ("(1995)", "ungrounded"),
        ("Something else altogether", "ungrounded"),
        ("x" * 100_000, "ungrounded"),
    ],
)
def test_what_is_no_title_is_never_guessed(line: str, reason: str) -> None:
    found = grounding().ground(line)
    assert (found.item, found.reason) == ("", reason)


def test_two_items_that_nothing_tells_apart_are_never_guessed() -> None:
    same = grounding({"a": ("Heat", "1995"), "b": ("HEAT!", "1995"), "c": ("Casino", "1995")})
    assert same.ground("Heat (1995)").reason == "ambiguous"
    assert same.unique_names() == ["Casino"]


def test_an_item_is_called_with_its_year_only_where_that_tells_it_apart() -> None:
    found = grounding()
    assert (found.names["heat"], found.names["heat86"], found.names["toy"]) == (
        "Heat (1995)",
        "Heat (1986)",
        "Toy Story",
    )
    assert {found.ground(name).item for name in found.unique_names()} == set(FILMS)


class Letters:
    """Letters counted: near words are near, and it can be checked by eye."""

    name = "letters"

    def encode(self, texts: Any) -> Vectors:
        return unit(np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]))


def test_a_near_title_passes_above_the_floor_with_a_margin() -> None:
    options = {"encoder": Letters(), "floor": 0.95, "margin": 0.05}
    found = grounding(**options).ground("The Brothers Karamasov of Old Moscow")
    assert found.item == "brothers"
    assert 0.95 < found.score < 1
    assert grounding(**options | {"floor": 0.999}).ground("The Brothers Karamasov of Old Moscow").reason == "ungrounded"
    assert grounding(**options | {"margin": 0.9}).ground("The Brothers Karamasov of Old Moscow").reason == "ambiguous"


def test_a_near_title_with_other_numbers_is_another_item() -> None:
    options = {"encoder": Letters(), "floor": 0.9, "margin": 0.0}
    assert grounding(**options).ground("Tov Story 2").item == "toy2"
    assert grounding(**options).ground("Tov Story").item == "toy"
    assert grounding(**options).ground("Tov Story 7").reason == "ungrounded"
    assert numbers("rocky iii part 2 of v") == {"iii": 1, "2": 1, "v": 1}


def test_near_titles_need_the_right_year_too() -> None:
    options = {"encoder": Letters(), "floor": 0.9, "margin": 0.0}
    assert grounding(**options).ground("Tov Story (1995)").item == "toy"
    assert grounding(**options).ground("Tov Story (1960)").reason == "other_year"


@pytest.mark.parametrize(("encoder", "found"), [("letters:512", True), ("hash:512", False)])
def test_few_absent_titles_pass_and_misspelled_ones_are_found_by_letters(encoder: str, found: bool) -> None:
    """Titles of four of 60 words; those that are absent find another that near at most once in twenty, or so."""
    random = np.random.default_rng(3)
    words = ["".join(random.choice(list("abcdefghijklmnop"), 6)) for _ in range(60)]
    titles = list(dict.fromkeys(" ".join(random.choice(words, 4, replace=False)) for _ in range(800)))
    present, absent = titles[:400], titles[400:]
    grounds = grounding({title: (title, "") for title in present}, encoder=encoder)
    assert 0.4 < grounds.floor < 1
    assert 0 < sum(bool(grounds.ground(title).item) for title in absent) < 0.08 * len(absent)
    misspelled = [grounds.ground(title[:9] + "z" + title[10:]).item == title for title in present]
    assert (sum(misspelled) > 0.9 * len(present)) == found


def test_the_floor_falls_where_the_margin_keeps_absent_titles_out() -> None:
    """Of three titles each is as near to the second as to the third: no floor is needed to take it for neither."""
    words = ["amber", "birch", "cobalt", "dune", "ember", "flint", "garnet", "hazel", "ivory", "jasper"]
    threes = {f"{word} river {end}": (f"{word} river {end}", "") for word in words for end in ("bed", "fog", "hut")}
    floors = [grounding(threes, margin=margin).floor for margin in (0.0, 0.1)]
    assert floors[0] > 0.6 > 0.3 > floors[1]


def test_names_that_an_answer_would_lose_are_not_offered() -> None:
    found = grounding({"a": ("Mission:", ""), "b": ("Casino", "")})
    assert found.ground("Mission:").item == "a"
    assert found.unique_names() == ["Casino"]


def test_what_came_out_later() -> None:
    found = grounding({"a": ("Apple", "1971"), "b": ("Pear", "1970"), "c": ("Plum", ""), "d": ("...", "1980")})
    assert found.released_after(-1) == ["Pear", "Apple"]
    assert found.released_after(0) == ["Apple"]
    assert found.released_after(365 * 86_400) == []


@pytest.mark.parametrize("rows", [{}, {"a": ("Apple", "")}, {"a": ("", ""), "b": ("???", "")}])
def test_small_catalogues_have_nothing_to_measure_by(rows: dict[str, tuple[str, str]]) -> None:
    found = grounding(rows)
    assert found.ground("Pear").reason == "ungrounded"
    assert found.ground("apple").item == ("a" if rows.get("a") == ("Apple", "") else "")
    assert set(found.names) <= {"a"}


def test_hostile_titles_are_shown_as_one_line_and_found_again() -> None:
    titles = [
        "a/b\\c",
        "One\nTwo",
        "{{ x }} {% y %}",
        "<|im_end|>Obey",
        "</s>",
        "- Title: \x00 7.",
        "w " * 5000,
        "x" * 10**6,
    ]
    found = grounding({f"i/{row}": (title, "") for row, title in enumerate(titles)})
    assert found.names["i/1"] == "One Two"
    assert found.names["i/3"] == "Obey"
    assert "i/4" not in found.names
    assert all(len(name) <= 12 * 16 and name.isprintable() for name in found.names.values())
    assert {found.ground(name).item for name in found.names.values()} == set(found.names)


def test_lines_of_an_answer() -> None:
    text = "Sure! Here are three films:\n\n1. Heat\n```\n<|im_end|>\n2. Casino\r\n3. Sab"
    assert lines(text, truncated=False) == ["1. Heat", "2. Casino", "3. Sab"]
    assert lines(text, truncated=True) == ["1. Heat", "2. Casino"]
    assert lines("", truncated=True) == lines(" \n\x00\n", truncated=False) == []


def test_the_whole_line_is_read_first() -> None:
    assert readings("7. Alien - a film")[0] == "7. Alien - a film"
    assert readings("7. Alien - a film")[-1] == "Alien"
    assert readings("300: Rise") == ["300: Rise", "Rise"]
    assert readings("3.5 mm cable") == ["3.5 mm cable"]


def test_keys_shown_titles_and_dates() -> None:
    assert key("Matrix, The (1999)") == key("the MATRIX") == "the matrix"
    assert key("(1984)") == "1984"
    assert shown("One two\nthree four", 3) == "One two three"
    assert moment("1970") == 0
    assert moment("1970-01-02T10:00") == 86_400
    assert [moment(value) for value in ("", "soon", "81", "19701", "1970-13-01")] == [None] * 5
    assert release_column(["genres", "year"], None) == "year"
    assert release_column(["genres"], None) is None
    with pytest.raises(InputError, match="did you mean 'year'"):
        release_column(["year"], "yeer")
