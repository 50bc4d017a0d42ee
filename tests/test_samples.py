from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_aug.data import Origin, Pair, Sample
from llm_aug.errors import InputError
from llm_aug.files import write_parquet
from llm_aug.sources.samples import read_samples
from llm_aug.stage import Outcome, once
from llm_aug.tables import SAMPLE_SCHEMA, samples_table


def samples_file(path: Path, columns: dict[str, list[object]]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_our_own_samples_pass_straight_through_also_from_a_folder(tmp_path: Path) -> None:
    ours = [Sample("rewrite/1", "description", "1", text="A toy.", origin=Origin("rewrite", parents=("1",), seed=3))]
    write_parquet(tmp_path / "samples.parquet", samples_table([]))
    write_parquet(tmp_path / "kept.parquet", samples_table(ours))
    assert read_samples(tmp_path / "kept.parquet") == ours
    assert read_samples(tmp_path) == ours


def test_foreign_texts_become_descriptions(tmp_path: Path) -> None:
    path = samples_file(tmp_path / "s.parquet", {"subject": [1, 2], "text": ["A toy.", None]})
    assert read_samples(path) == [
        Sample("foreign/0", "description", "1", text="A toy.", origin=Origin("foreign")),
        Sample("foreign/1", "description", "2", text="", origin=Origin("foreign")),
    ]


def test_foreign_pairs_become_one_sample_each(tmp_path: Path) -> None:
    columns = {"user_id": [7, 8], "item_id": ["1", "1"], "weight": [0.5, None], "timestamp": [None, 964982703000]}
    path = samples_file(tmp_path / "s.parquet", columns)
    assert read_samples(path) == [
        Sample("foreign/0", "interactions", "1", interactions=(Pair("7", "1"),), weight=0.5),
        Sample("foreign/1", "interactions", "1", interactions=(Pair("8", "1", 964982703),), weight=1.0),
    ]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"subject": ["1"], "words": ["x"]}, "needs the columns 'subject' and 'text'"),
        ({"subject": ["1", None], "text": ["x", "y"]}, "1 rows have no usable subject, the first in row 2"),
        ({"subject": ["1"], "text": ["x"], "kind": ["descripton"]}, "did you mean 'description'"),
        ({"subject": ["1"], "text": ["x"], "weight": [-1.0]}, "an impossible weight, the first in row 1"),
        (
            {"subject": ["1", "2"], "text": ["x", "y"], "sample_id": ["a", "a"]},
            "stands there before, the first in row 2",
        ),
        ({"user_id": ["1"], "item_id": [""]}, "no usable item_id"),
        ({name: ["1"] for name in samples_table([]).column_names}, "but not their content"),
        ({"subject": ["1"], "text": [["a", "list"]]}, "1 rows have no plain text, the first in row 1"),
    ],
)
def test_samples_that_cannot_be_used_are_input_errors(
    tmp_path: Path, columns: dict[str, list[object]], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        read_samples(samples_file(tmp_path / "s.parquet", columns))


GOOD = {
    "sample_id": "a",
    "kind": "interactions",
    "subject": "1",
    "interactions": [{"user_id": "7", "item_id": "1"}],
    "weight": 1.0,
    "origin": '{"generator": "theirs"}',
}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"sample_id": None}, "no sample_id"),
        ({"subject": ""}, "no subject"),
        ({"weight": None}, "an impossible weight"),
        ({"weight": float("nan")}, "an impossible weight"),
        ({"weight": -0.5}, "an impossible weight"),
        ({"interactions": [{"user_id": "7", "item_id": None}]}, "a pair without user or item"),
        ({"origin": '{"generator": "g", "split_hash": 3}'}, "an origin that is not ours"),
        ({"origin": '{"generator": "g", "parents": 3}'}, "but not their content"),
        ({"origin": "[" * 100_000}, "but not their content"),
        ({"origin": None}, "but not their content"),
        ({"interactions": [None]}, "but not their content"),
    ],
)
def test_our_columns_with_a_row_that_is_not_ours_are_refused(
    tmp_path: Path, fault: dict[str, object], says: str
) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(pa.Table.from_pylist([GOOD], schema=SAMPLE_SCHEMA), path)
    assert len(read_samples(path)) == 1
    pq.write_table(pa.Table.from_pylist([GOOD, {**GOOD, "sample_id": "b", **fault}], schema=SAMPLE_SCHEMA), path)
    with pytest.raises(InputError, match=says):
        read_samples(path)
    pq.write_table(pa.Table.from_pylist([GOOD, GOOD], schema=SAMPLE_SCHEMA), path)
    with pytest.raises(InputError, match="a sample_id that stands there before, the first in row 2"):
        read_samples(path)


def test_another_file_than_the_stage_wrote_is_not_read(tmp_path: Path) -> None:
    def work() -> Outcome:
        write_parquet(tmp_path / "samples.parquet", samples_table([]))
        return Outcome("0 samples")

    once(tmp_path, "rewrite", {}, work)
    assert read_samples(tmp_path) == []
    samples_file(tmp_path / "samples.parquet", {"subject": ["1"], "text": ["x"]})
    with pytest.raises(InputError, match=r"samples\.parquet is not the file that was written"):
        read_samples(tmp_path)


def test_folder_without_samples_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no samples"):
        read_samples(tmp_path)


def test_a_date_is_no_weight_and_a_missing_one_is_missing(tmp_path: Path) -> None:
    for value in (None, datetime(2020, 1, 1)):
        table = pa.table({"subject": ["1"], "text": ["x"], "weight": pa.array([value], pa.timestamp("us"))})
        pq.write_table(table, tmp_path / "dates.parquet")
        if value is None:
            assert [sample.weight for sample in read_samples(tmp_path / "dates.parquet")] == [1.0]
        else:
            with pytest.raises(InputError, match="an impossible weight, the first in row 1"):
                read_samples(tmp_path / "dates.parquet")
