"""split.json as someone else may write it: a field that is not of its kind is named, one left out is worked out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm_aug.data import Split
from llm_aug.errors import InputError
from llm_aug.files import read_json, write_json
from llm_aug.splits import read_split, write_split

WRONG: list[tuple[str, Any]] = [
    ("cold_items", None),
    ("cold_items", "i1"),
    ("cold_items", [None]),
    ("cold_items", [["i1"]]),
    ("cold_users", {"u1": 1}),
    ("seed", None),
    ("seed", "x"),
    ("seed", True),
    ("revealed", "x"),
    ("revealed", 1.5),
    ("revealed", -1),
    ("strategy", None),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_field_of_another_kind_is_named_with_its_file(tastes: Split, tmp_path: Path, name: str, value: Any) -> None:
    write_split(tmp_path, tastes)
    path = tmp_path / "split.json"
    write_json(path, {**read_json(path), name: value})
    with pytest.raises(InputError) as caught:
        read_split(tmp_path)
    assert str(caught.value).startswith(f"{path}: {name} is ")


def test_what_is_left_out_is_worked_out(tastes: Split, tmp_path: Path) -> None:
    write_split(tmp_path, tastes)
    write_json(tmp_path / "split.json", {"cold_items": list(tastes.cold_items)})
    found = read_split(tmp_path)
    assert (found.hash, found.cold_items, found.cold_users) == (tastes.hash, tastes.cold_items, ())
    assert (found.strategy, found.seed, found.revealed) == ("foreign", 0, 0)
