"""What cleaning refuses: too many bad rows, columns that are missing, and files of which nothing is left."""

from __future__ import annotations

import numpy as np
import pytest
from unclean import FRUIT, Rows, cleaned, drops, raw

from llm_aug.clean import CleanOptions, clean
from llm_aug.errors import InputError
from llm_aug.sources.raw import RawDataset, RawTable


def test_missing_column_names_the_near_one() -> None:
    with pytest.raises(InputError, match=r"items\.csv has no column 'item_id' \(did you mean 'itemid'"):
        cleaned([{"itemid": "1", "title": "Apple"}])
    with pytest.raises(InputError, match=r"interactions\.csv has no column 'user_id'"):
        cleaned(log=[{"item_id": "1"}])


def test_too_many_bad_rows_are_refused_with_reasons_and_lines() -> None:
    log = [{"user_id": "7", "item_id": "1"}, *({"user_id": "", "item_id": "1"} for _ in range(7))]
    says = r"7 of 11 rows are bad and 6 are allowed: 7 missing_user_id \(interactions\.csv line 3, 4, 5, 6, 7, \.\.\.\)"
    with pytest.raises(InputError, match=says) as caught:
        cleaned(log=log, max_bad_rows=6)
    assert caught.value.exit_code == 2
    assert len(cleaned(log=log, max_bad_rows=7).dropped) == 7


def test_by_default_ten_bad_rows_or_one_in_a_hundred_are_allowed() -> None:
    def log(good: int, bad: int) -> Rows:
        return [{"user_id": n, "item_id": "1"} for n in range(good)] + [{"user_id": None, "item_id": "1"}] * bad

    assert len(cleaned(log=log(1, 10), max_bad_rows=None).dropped) == 10
    assert len(cleaned(log=log(1982, 20), max_bad_rows=None).dropped) == 20
    with pytest.raises(InputError, match="11 of 15 rows are bad and 10 are allowed"):
        cleaned(log=log(1, 11), max_bad_rows=None)


def test_unreadable_lines_are_bad_rows() -> None:
    source = raw(FRUIT, [{"user_id": "7", "item_id": "1"}])
    items = RawTable("items.csv", source.items.frame, np.array([2, 3, 5]), ((4, "wrong_field_count"),))
    source = RawDataset(items, source.interactions, ())
    assert drops(clean(source)) == [("items.csv", 4, "wrong_field_count", "")]
    with pytest.raises(InputError, match=r"1 wrong_field_count \(items\.csv line 4\)"):
        clean(source, CleanOptions(max_bad_rows=0))


@pytest.mark.parametrize(
    ("items", "log", "says"),
    [
        (
            [{"item_id": "1", "title": ""}],
            None,
            r"no items of items\.csv are left after cleaning: 1 empty_text \(items\.csv line 2\)",
        ),
        (
            FRUIT,
            [{"user_id": "7", "item_id": "9"}],
            r"no interactions of interactions\.csv are left after cleaning: 1 unknown_item",
        ),
    ],
)
def test_nothing_left_is_an_input_error(items: Rows, log: Rows | None, says: str) -> None:
    with pytest.raises(InputError, match=says):
        cleaned(items, log)


def test_negative_option_is_an_input_error() -> None:
    with pytest.raises(InputError, match="min_user_count is -1"):
        CleanOptions(min_user_count=-1)
