"""Whatever a file holds: samples or a sentence, never a traceback; and what was stored is what is read."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import FEW, MANY, assert_that, fuzzed, said
from hypothesis import given, settings
from hypothesis import strategies as st
from test_simulate import run

from llm_aug.answers import Answers
from llm_aug.data import Completion, Prompt, Sample
from llm_aug.errors import InputError, LlmAugError
from llm_aug.files import fingerprint, write_parquet
from llm_aug.sources.samples import read_samples
from llm_aug.tables import SAMPLE_SCHEMA

# Files of samples


NAMES = ("subject", "text", "user_id", "item_id", "weight", "kind", "sample_id", "timestamp", "rating", "origin")


NAMES = (*NAMES, "interactions", "other")


numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 9))


floats = st.floats(allow_nan=True, allow_infinity=True)


strings = st.text(max_size=8)


ORIGINS = [
    '{"generator": 7}',
    '{"generator": "g", "split_hash": 3}',
    "[" * 100_000,
    "{}",
    "[]",
    "null",
    "7",
    '"x"',
    '{"generator": "g"}',
    '{"generator": "g", "parents": null}',
    "{",
    "",
]


origins = st.sampled_from([*ORIGINS, '{"generator": "g", "more": 1}', '{"generator": "g", "parents": 3, "seed": "x"}'])


ids = st.one_of(strings, st.none())


pair = st.fixed_dictionaries({"user_id": ids, "item_id": ids}, optional={"timestamp": numbers, "rating": floats})


KINDS = ("description", "interactions", "history", "vector", "descripton", "")


VALUES: list[tuple[pa.DataType | None, st.SearchStrategy[Any]]] = [
    (pa.string(), strings),
    (pa.large_string(), strings),
    (pa.string(), st.sampled_from(KINDS)),
    (pa.string(), origins),
    (pa.binary(), st.binary(max_size=6)),
    (pa.int64(), numbers),
    (pa.uint8(), st.integers(0, 255)),
    (pa.float64(), floats),
    (pa.float32(), st.floats(width=32)),
    (pa.bool_(), st.booleans()),
    (pa.null(), st.none()),
    (pa.timestamp("us"), st.integers(-(10**15), 4 * 10**15)),
    (pa.date32(), st.integers(-9999, 40_000)),
    (pa.decimal128(10, 2), st.decimals(-1000, 1000, places=2)),
    (pa.list_(pa.string()), st.lists(strings, max_size=2)),
    (pa.list_(pa.struct([("user_id", pa.string()), ("item_id", pa.string())])), st.lists(pair, max_size=2)),
    (pa.struct([("a", pa.int64())]), st.fixed_dictionaries({"a": numbers})),
    (pa.dictionary(pa.int8(), pa.string()), strings),
    (pa.duration("s"), st.integers(0, 1000)),
]


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Any of our columns in any type, some values missing, a name perhaps twice."""
    rows = draw(st.integers(0, 4))
    wanted = [["subject", "text"], ["user_id", "item_id"], list(NAMES[:-1]), []]
    names = [*draw(st.sampled_from(wanted)), *draw(st.lists(st.sampled_from(NAMES), max_size=3))]
    if draw(st.integers(0, 9)):
        names = list(dict.fromkeys(names))
    columns = []
    for _ in names:
        kind, values = draw(st.sampled_from(VALUES))
        some = st.one_of(values, st.none()) if draw(st.booleans()) else values
        columns.append(pa.array(draw(st.lists(some, min_size=rows, max_size=rows)), kind))
    return pa.Table.from_arrays(columns, names=names)


GOOD: dict[str, Any] = {
    "sample_id": None,
    "kind": "interactions",
    "subject": "1",
    "text": "A toy.",
    "interactions": [{"user_id": "7", "item_id": "1"}],
    "weight": 0.5,
    "origin": '{"generator": "g"}',
}


BAD: dict[str, st.SearchStrategy[Any]] = {
    "sample_id": st.sampled_from([None, "", "a"]),
    "kind": st.sampled_from([None, *KINDS]),
    "subject": ids,
    "text": ids,
    "interactions": st.one_of(st.none(), st.lists(st.one_of(st.none(), pair), max_size=2)),
    "weight": st.one_of(st.none(), floats),
    "origin": st.one_of(st.none(), origins),
}


@st.composite
def nearly_ours(draw: st.DrawFn) -> pa.Table:
    """Our columns and types; in one or two of the columns contents that are not ours."""
    spoilt = draw(st.sets(st.sampled_from(sorted(GOOD)), max_size=2))
    made = [
        {**GOOD, "sample_id": f"g/{number}", **{name: draw(BAD[name]) for name in sorted(spoilt)}}
        for number in range(draw(st.integers(1, 2)))
    ]
    return pa.Table.from_pylist(made, schema=SAMPLE_SCHEMA)


def check_read(table: pa.Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.parquet"
        pq.write_table(table, path)
        try:
            found = read_samples(path)
        except InputError as error:
            assert_that("samples.parquet" in str(error) and len(str(error)) < 1000, error)
            return
    assert len(found) == table.num_rows
    assert len({sample.sample_id for sample in found}) == len(found)
    for sample in found:
        check_sample(sample)


def check_sample(sample: Sample) -> None:
    assert isinstance(sample.sample_id, str)
    assert sample.sample_id
    assert isinstance(sample.subject, str)
    assert sample.subject
    assert sample.text is None or isinstance(sample.text, str)
    assert isinstance(sample.weight, float)
    assert math.isfinite(sample.weight)
    assert sample.weight >= 0
    assert all(isinstance(text, str) for text in (sample.origin.generator, sample.origin.split_hash))
    assert isinstance(sample.origin.seed, int)
    for one in sample.interactions or ():
        assert isinstance(one.user_id, str)
        assert isinstance(one.item_id, str)
        assert one.user_id
        assert one.item_id


@fuzzed(table=tables())
def test_a_foreign_file_is_samples_or_a_sentence(table: pa.Table) -> None:
    check_read(table)


@fuzzed(table=nearly_ours())
def test_a_file_with_our_columns_is_samples_or_a_sentence(table: pa.Table) -> None:
    check_read(table)


@pytest.mark.slow
@settings(max_examples=MANY // 2, **FEW)  # type: ignore[arg-type]
@given(table=st.one_of(tables(), nearly_ours()))
def test_thousands_of_files(table: pa.Table) -> None:
    check_read(table)


# What is added is what is read


completions = st.builds(Completion, said, st.sampled_from(["stop", "length", "error"]), st.integers(0, 2**31))


rows = st.lists(st.tuples(st.text(max_size=12), said, completions), max_size=8, unique_by=lambda row: row[0])


@settings(max_examples=100, **FEW)  # type: ignore[arg-type]
@given(rows=rows)
def test_answers_come_back_as_they_were_added(rows: list[tuple[str, str, Completion]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = Answers(Path(folder), "mark")
        kept = []
        for place, (key, text, completion) in enumerate(rows):
            prompt = Prompt("system", text)
            written.add(key, prompt, completion)
            kept.append((key, prompt, written.get(key, prompt)))
            if place % 3 == 2:
                written.write()
        written.write()
        read = Answers(Path(folder), "mark")
        read.read()
        assert list(Path(folder).glob("*.bad")) == []
        for (key, prompt, answer), (_, _, completion) in zip(kept, rows, strict=True):
            assert answer is not None
            assert read.get(key, prompt) == answer
            assert answer.text == completion.text.encode("utf-8", "replace").decode()
            assert (answer.finish, answer.n_tokens) == (completion.finish, completion.n_tokens)
            assert read.get(key, Prompt("another system", prompt.user)) is None


@pytest.mark.parametrize("text", ["", "yes", "[1]", "[1, 2, 3]", '["a", "b"]', "null", "{}", "[null, 1]", "[NaN, 1]"])
def test_a_stored_score_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    """With a right digest, so that it can only come from another version or another hand."""
    run(tmp_path)
    shard = next((tmp_path / "answers").glob("*.parquet"))
    table = pq.read_table(shard)
    made = table.to_pylist()
    made[0]["text"] = text
    mark = table.schema.metadata[b"fingerprint"].decode()
    digest = {"fingerprint": mark, "digest": fingerprint([mark, made])}
    write_parquet(shard, pa.Table.from_pylist(made, schema=table.schema).replace_schema_metadata(digest))
    with pytest.raises(LlmAugError, match="no pair of scores"):
        run(tmp_path)
