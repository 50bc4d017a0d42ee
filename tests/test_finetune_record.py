"""What an adapter says of the split that it was tuned on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from planted import split

from llm_aug.files import write_json
from llm_aug.finetune_record import FINETUNE_RECORD, catalogue_hash, tuned_on

MINE = split()
ITEMS = catalogue_hash(MINE.items["item_id"][::-1])


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"split_hash": MINE.hash, "catalogue": ITEMS}, "this split"),
        ({"split_hash": "1c2d", "catalogue": ITEMS}, "split 1c2d (of the same catalogue: it may know rows that are"),
        ({"split_hash": "1c2d", "catalogue": "other"}, "split 1c2d (another catalogue)"),
        ({"split_hash": "1c2d"}, "split 1c2d"),
        ({"split_hash": ""}, "unknown"),
    ],
)
def test_an_adapter_tells_its_split(tmp_path: Path, record: dict[str, str], says: str) -> None:
    write_json(tmp_path / FINETUNE_RECORD, record)
    assert tuned_on(tmp_path, MINE).startswith(says)


def test_an_adapter_of_someone_elses_tells_nothing(tmp_path: Path) -> None:
    assert tuned_on(tmp_path, replace(MINE, hash="")) == "unknown"
