"""Types that cross a folder: what is written is read, and what nobody may trust is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import COLD, split

from llm_aug.data import (
    KINDS,
    Dataset,
    Origin,
    Pair,
    Reject,
    Sample,
    Split,
    item_text,
    read_dataset,
    tidy_interactions,
    tidy_items,
    write_dataset,
)
from llm_aug.errors import InputError
from llm_aug.files import read_json, read_parquet, write_json, write_parquet
from llm_aug.splits import read_split, split_hash, write_split
from llm_aug.tables import SAMPLE_SCHEMA, rejects_table, samples_from, samples_table

FRUITS = ["apple", "pear", "plum"]


def items(**columns: Any) -> pd.DataFrame:
    return tidy_items(pd.DataFrame({"item_id": ["1", "2", "3"], "title": FRUITS, **columns}))


def log(**columns: Any) -> pd.DataFrame:
    return tidy_interactions(pd.DataFrame({"user_id": ["a", "b"], "item_id": ["1", "2"], **columns}))


# Folders


def test_a_dataset_survives_its_folder(tmp_path: Path) -> None:
    dataset = Dataset(
        items(year=[1995, None, 2001], description=["{{ braces }}", "Käse 🧀", "a\0b"]),
        log(timestamp=[964982703, None], rating=[4.5, None], weight=[0.25, 1.0], is_synthetic=[True, False]),
    )
    write_dataset(tmp_path, dataset)
    read = read_dataset(tmp_path)
    pd.testing.assert_frame_equal(read.items, dataset.items)
    pd.testing.assert_frame_equal(read.interactions, dataset.interactions)


@pytest.mark.parametrize(
    ("name", "frame", "says"),
    [
        ("items", {"item_id": ["1", "1"]}, "1 rows have an item_id that stands there before, the first is row 2"),
        ("items", {"item_id": ["1", None]}, "1 rows have no item_id, the first is row 2"),
        ("interactions", {"user_id": ["", "a"], "item_id": ["1", "1"]}, "1 rows have no user_id, the first is row 1"),
    ],
)
def test_rows_without_an_identity_are_refused(tmp_path: Path, name: str, frame: dict[str, Any], says: str) -> None:
    write_dataset(tmp_path, Dataset(items(), log()))
    write_parquet(tmp_path / f"{name}.parquet", pa.Table.from_pandas(pd.DataFrame(frame)))
    with pytest.raises(InputError, match=says):
        read_dataset(tmp_path)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"items\.parquet is not there"):
        read_dataset(tmp_path)
    write_split(tmp_path, split())
    (tmp_path / "validation.parquet").unlink()
    with pytest.raises(InputError, match=r"validation\.parquet is not there"):
        read_split(tmp_path)


# Splits


def test_a_split_survives_its_folder(tmp_path: Path) -> None:
    cut = replace(split(), strategy="item-random", seed=3)
    write_split(tmp_path, cut)
    read = read_split(tmp_path)
    for name in ("items", "train", "validation", "test"):
        pd.testing.assert_frame_equal(getattr(read, name), getattr(cut, name), check_dtype=len(getattr(cut, name)) > 0)
    assert (read.cold_items, read.cold_users, read.hash) == (tuple(COLD), (), cut.hash)
    assert (read.strategy, read.seed) == ("item-random", 3)
    assert read_json(tmp_path / "split.json")["rows"]["test"] == len(cut.test)


def test_training_holds_the_catalogue_and_train_alone() -> None:
    cut = split()
    assert cut.training.items is cut.items
    assert cut.training.interactions is cut.train


def test_a_foreign_split_needs_no_description(tmp_path: Path) -> None:
    write_split(tmp_path, split())
    (tmp_path / "split.json").unlink()
    read = read_split(tmp_path)
    assert (read.cold_items, read.cold_users, read.strategy) == (tuple(COLD), (), "foreign")
    assert read.hash == split().hash


def test_a_foreign_split_may_hold_numbers(tmp_path: Path) -> None:
    cut = small()
    for name in ("items", "train", "validation", "test"):
        frame = getattr(cut, name)
        ids = {column: frame[column].astype(int) for column in ("user_id", "item_id") if column in frame}
        write_parquet(tmp_path / f"{name}.parquet", pa.Table.from_pandas(pd.DataFrame(ids), preserve_index=False))
    write_json(tmp_path / "split.json", {"cold_items": [3]})
    read = read_split(tmp_path)
    assert (read.cold_items, read.cold_users) == (("3",), ("12",))
    assert list(read.train["item_id"]) == ["1", "2"]


def small() -> Split:
    """Item 3 and user 12 are cold."""
    frames = [
        tidy_interactions(pd.DataFrame({"user_id": users, "item_id": ids}))
        for users, ids in ([("10", "11"), ("1", "2")], [("10",), ("2",)], [("11", "12"), ("3", "3")])
    ]
    return Split(items(), *frames, cold_items=("3",), cold_users=("12",), hash=split_hash(items(), frames))


@pytest.mark.parametrize("cold", [["1"], [1], ["3", "1"]])
def test_a_cold_item_with_a_training_row_is_refused(tmp_path: Path, cold: list[Any]) -> None:
    write_split(tmp_path, small())
    write_json(tmp_path / "split.json", {**read_json(tmp_path / "split.json"), "cold_items": cold})
    with pytest.raises(InputError, match="1 cold items have training rows, for example '1'"):
        read_split(tmp_path)


def test_a_cold_user_with_a_training_row_is_refused(tmp_path: Path) -> None:
    write_split(tmp_path, replace(small(), cold_users=("12", "11")))
    with pytest.raises(InputError, match="1 cold users have training rows, for example '11'"):
        read_split(tmp_path)


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_a_part_that_was_changed_is_refused(tmp_path: Path, name: str) -> None:
    cut = small()
    write_split(tmp_path, cut)
    changed = replace(cut, **{name: getattr(cut, name).assign(timestamp=5)})
    write_split(tmp_path, changed)
    with pytest.raises(InputError, match=r"split.json says hash \w+, the files give \w+; split again"):
        read_split(tmp_path)


def test_a_pair_moved_from_test_to_train_is_refused(tmp_path: Path) -> None:
    cut = small()
    moved = replace(cut, train=pd.concat([cut.train, cut.test.iloc[:1]], ignore_index=True), test=cut.test.iloc[1:])
    write_split(tmp_path, moved)
    with pytest.raises(InputError, match="split again"):
        read_split(tmp_path)
    write_split(tmp_path, replace(moved, hash=split_hash(moved.items, (moved.train, moved.validation, moved.test))))
    with pytest.raises(InputError, match="cold items have training rows"):
        read_split(tmp_path)


def test_the_hash_does_not_depend_on_the_order_of_rows() -> None:
    cut = small()
    turned = [part.iloc[::-1] for part in (cut.train, cut.validation, cut.test)]
    assert split_hash(cut.items.iloc[::-1], turned) == cut.hash
    assert split_hash(cut.items, turned[::-1]) != cut.hash


def test_interactions_of_unknown_items_are_refused(tmp_path: Path) -> None:
    write_split(tmp_path, replace(small(), test=log(item_id=["1", "nowhere"])))
    (tmp_path / "split.json").unlink()
    with pytest.raises(InputError, match=r"1 items have interactions but no row in items, e\.g\. 'nowhere'"):
        read_split(tmp_path)


def test_a_description_that_is_no_object_is_refused(tmp_path: Path) -> None:
    write_split(tmp_path, small())
    write_json(tmp_path / "split.json", ["cold_items"])
    with pytest.raises(InputError, match=r"split\.json is not a JSON object"):
        read_split(tmp_path)


# Samples


def sample(**changes: Any) -> Sample:
    whole = Sample(
        "judge/u/1",
        "interactions",
        "1",
        interactions=(Pair("u", "1", 5, 4.5), Pair("v", "1")),
        weight=0.5,
        origin=Origin("llm", ("1", "u"), "builtin:mini", "abc", "", "0f", '{"temperature": 0}', 7, "s1"),
    )
    return replace(whole, **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_survive_their_table(tmp_path: Path, kind: Any) -> None:
    made = [sample(kind=kind), Sample("b", kind, "2", text="A {plum} | \0"), Sample("c", kind, "3", interactions=())]
    write_parquet(tmp_path / "samples.parquet", samples_table(made))
    table = read_parquet(tmp_path / "samples.parquet")
    assert table.schema.equals(SAMPLE_SCHEMA)
    assert samples_from(table) == made


def test_no_samples_and_samples_without_text_have_the_same_schema() -> None:
    tables = [samples_table([]), samples_table([sample()]), samples_table([Sample("b", "review", "2", text="x")])]
    assert {str(table.schema) for table in tables} == {str(SAMPLE_SCHEMA)}
    assert pa.concat_tables(tables).num_rows == 2


def test_rejects_have_a_schema_without_rows_too() -> None:
    assert rejects_table([]).schema.equals(rejects_table([Reject("1", "generate", "empty")]).schema)
    assert rejects_table([Reject("1", "generate", "empty", "…")]).to_pylist()[0]["answer"] == "…"


def test_an_origin_is_json_with_every_field() -> None:
    origin = json.loads(samples_table([sample()]).to_pylist()[0]["origin"])
    assert origin["parents"] == ["1", "u"]
    assert set(origin) == set(vars(Origin("x")))


# Text


def test_item_text_is_one_line_of_what_there_is() -> None:
    row = {"title": "Toy Story ", "genres": "Comedy|Family", "year": "", "description": "Toys."}
    assert item_text(row, ["genres", "year"]) == "Toy Story. Comedy, Family. Toys."
    assert item_text({"title": "", "description": ""}, []) == ""


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1), min_size=1, max_size=5, unique=True))
def test_any_text_survives_a_folder(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    frame = tidy_items(pd.DataFrame({"item_id": texts, "title": texts}))
    write_dataset(folder, Dataset(frame, tidy_interactions(pd.DataFrame({"user_id": texts, "item_id": texts}))))
    read = read_dataset(folder)
    assert list(read.items["item_id"]) == list(read.items["title"]) == list(read.interactions["user_id"]) == texts
