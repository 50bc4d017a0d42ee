"""Arms and students as words on a command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.arguments import parse_arms, parse_options, parse_pairs, parse_students
from llm_aug.errors import InputError
from recommender import STUDENTS, USUAL


def test_the_same_arm_twice_is_one_arm_of_both() -> None:
    found = parse_arms(["llm=a", "both=a", "both=b"])
    assert found == {"llm": [Path("a")], "both": [Path("a"), Path("b")]}


def test_a_student_has_its_options_in_their_types() -> None:
    assert parse_students(["ials:factors=32,alpha=5", "popularity"]) == {
        "ials": {"factors": 32, "alpha": 5.0},
        "popularity": {},
    }
    assert list(parse_students([])) == list(USUAL)
    assert list(parse_students(STUDENTS)) == list(STUDENTS)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["ials:factors"], "not key=value"),
        (["ials:factor=3"], "did you mean 'factors'"),
        (["ials:factors=x"], "factors is 'x'"),
        (["isal"], "did you mean 'ials'"),
        (["ials", "ials"], "named twice"),
    ],
)
def test_a_student_that_cannot_be_is_refused(given: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_students(given)


@pytest.mark.parametrize("given", ["llm", "=folder", "llm="])
def test_an_arm_without_a_name_or_a_folder_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="NAME=FOLDER"):
        parse_arms([given])


def test_a_key_given_twice_is_refused() -> None:
    assert parse_options(["encoder=hash:64", "l2=1e-3"]) == {"encoder": "hash:64", "l2": 0.001}
    with pytest.raises(InputError, match="'item_id' is given twice"):
        parse_pairs(["item_id=a", "item_id=b"], "item_id=asin")
