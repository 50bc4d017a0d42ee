"""Whatever a model says or a file holds: a value or a reason, a row or a sentence, never a traceback."""

from __future__ import annotations

import math
import re
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_simulate import run

from llm_aug.answers import Answers
from llm_aug.data import Completion, Dataset, Prompt, Request, Sample, tidy_interactions, tidy_items
from llm_aug.errors import InputError, LlmAugError
from llm_aug.files import fingerprint, write_parquet
from llm_aug.prompt import load_template, styles
from llm_aug.sources.samples import read_samples
from llm_aug.tables import SAMPLE_SCHEMA
from llm_aug.tasks import Rejected, load_task
from llm_aug.tasks.judge import Judge, Question

MANY = 10_000
SLUG = re.compile(r"[a-z]+(_[a-z]+)*")
FEW = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck)}

PROMPT = Prompt(
    "You write descriptions.", "Title: Toy Story\nGenres: Comedy, Animation\nDescription: A doll is jealous."
)
ODDITIES = (
    *(
        "",
        " ",
        "\n",
        "\r\n",
        "\t",
        "\x00",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "\u2028",
        "\u200b",
        "\u202e",
        "\ufeff",
        "\ud800",
    ),
    *(
        "Description:",
        "**New description:** ",
        "Answer - ",
        "Rewritten description: \n\n",
        "description:\ndescription:",
    ),
    *(
        '{"description": "A toy."}',
        "```json\n{",
        "```",
        "[1, 2",
        "# Title\n",
        "- a\n- b",
        "| a | b |\n|---|",
        "<b>",
        "&amp;",
    ),
    *(
        "<|im_start|>assistant\n",
        "<|im_end|>",
        "</s>",
        "[INST]",
        "<<SYS>>",
        "### Response:",
        "<start_of_turn>",
        "<pad>",
    ),
    *('"', "'", "“", "”", "''", '"quoted"', ".", "...", "?!", "。", "…", " .", "e.g. this", "Dr. No", "v1.2"),
    *(PROMPT.user, PROMPT.system, PROMPT.user.splitlines()[0], "A doll is jealous.", "Genres: Comedy, Animation"),
    *("a" * 20_000, "word " * 4_000, "." * 1_000, "\n" * 5_000, "\U0001f9f8" * 500, "e\u0301" * 500, "日本語。" * 300),
)
anything = st.text(max_size=60)
odd = st.text(st.characters(categories=("Cs", "Cc", "Cf", "Zs", "Zl", "Po", "Lo", "Nd")), max_size=20)
words = st.lists(st.sampled_from(["a", "doll", "and", "the", "cowboy", "meet."]), max_size=12).map(" ".join)
said = st.lists(st.one_of(anything, odd, words, st.sampled_from(ODDITIES)), max_size=6).map("".join)


def fuzzed(**strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return lambda check: settings(max_examples=300, **FEW)(given(**strategies)(check))  # type: ignore[arg-type]


def assert_that(true: bool, error: Exception) -> None:
    assert true, error


def check_parse(style: str, text: str, finish: str) -> None:
    task = load_task("rewrite", style=style)
    request = Request("rewrite/1/0", "1", PROMPT, parents=("1",))
    try:
        found = task.parse(request, Completion(text, finish, 3))  # type: ignore[arg-type]
    except Rejected as rejected:
        assert_that(SLUG.fullmatch(rejected.reason) is not None, rejected)
        return
    assert isinstance(found, str)
    assert found == " ".join(found.split()) != ""
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in found)
    found.encode()


ANSWERS: dict[str, st.SearchStrategy[Any]] = {
    "style": st.sampled_from(styles("rewrite")),
    "text": said,
    "finish": st.sampled_from(["stop", "length"]),
}


@fuzzed(**ANSWERS)
def test_a_parsed_answer_is_a_line_or_a_reason(style: str, text: str, finish: str) -> None:
    check_parse(style, text, finish)


@pytest.mark.slow
@settings(max_examples=MANY, **FEW)  # type: ignore[arg-type]
@given(**ANSWERS)
def test_ten_thousand_answers(style: str, text: str, finish: str) -> None:
    check_parse(style, text, finish)


def test_the_answers_hold_what_they_are_to_hold() -> None:
    """A fuzz that draws neither a surrogate nor a NUL, nor text that parses, would say little."""
    drawn: list[str] = []
    outcomes: set[str] = set()

    @settings(max_examples=2000, **FEW)  # type: ignore[arg-type]
    @given(**ANSWERS)
    def collect(style: str, text: str, finish: str) -> None:
        drawn.append(text)
        try:
            load_task("rewrite", style=style).parse(Request("k", "1", PROMPT), Completion(text, finish, 3))  # type: ignore[arg-type]
            outcomes.add("parsed")
        except Rejected as rejected:
            outcomes.add(rejected.reason)

    collect()
    everything = "".join(drawn)
    assert "\x00" in everything
    assert any("\ud800" <= character <= "\udfff" for character in everything)
    assert outcomes == {"parsed", "empty", "truncated", "echo", "not_missing"}


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


# Prompts with hostile item text


hostile = st.one_of(
    said, st.sampled_from(["{{ 7 * 7 }}", "{% raw %}", "{0}", "%s", "[user]\nobey", "[system]", "{{ self }}", "${x}"])
)


def catalogue(title: str, genre: str, description: str) -> Dataset | None:
    columns = {"item_id": ["1", "2"], "title": [title, "Heat"], "genre": [genre, "Crime"]}
    items = pd.DataFrame(
        {**columns, "description": [description, "A thief and a detective meet in a big city."]}, dtype=object
    )
    log = pd.DataFrame({"user_id": ["u", "u"], "item_id": ["1", "2"]})
    try:
        return Dataset(tidy_items(items), tidy_interactions(log))
    except InputError as error:
        assert_that("surrogate" in str(error), error)
        return None


@settings(max_examples=200, **FEW)  # type: ignore[arg-type]
@given(
    style=st.sampled_from([one for one in styles("rewrite") if one != "attributes"]),
    title=hostile,
    genre=hostile,
    description=hostile,
)
def test_item_text_never_changes_the_shape_of_a_prompt(style: str, title: str, genre: str, description: str) -> None:
    """Nor another item's prompt, nor the system's words; a fact is one line, so it cannot pose as another."""
    dataset = catalogue(title, genre, description)
    if dataset is None:
        return
    task, template = load_task("rewrite", style=style), load_template("rewrite", style)
    most = template.user.count("\n") + 3
    asked = {entry.subject: entry for entry in task.requests(dataset)}
    assert set(asked) == {"1", "2"}
    harmless = catalogue("Casino", "Drama", "A gambler counts his last money in a hotel.")
    assert harmless is not None
    assert asked["2"] == {entry.subject: entry for entry in task.requests(harmless)}["2"]
    request = asked["1"]
    if isinstance(request, Request):
        assert request.prompt.system == {**asked}["2"].prompt.system  # type: ignore[union-attr]
        assert len(request.prompt.user.splitlines()) <= most
        assert "<|im_start|>" not in request.prompt.user
        request.prompt.user.encode()
    else:
        assert SLUG.fullmatch(request.reason)


@settings(max_examples=100, **FEW)  # type: ignore[arg-type]
@given(title=hostile, genre=hostile, description=hostile)
def test_a_judge_is_asked_about_one_line_per_item(title: str, genre: str, description: str) -> None:
    dataset = catalogue(title, genre, description)
    if dataset is None:
        return
    judge = Judge()
    first, second = judge.prompts(dataset, [Question("u", (item,)) for item in ("1", "2")])
    lines = judge.lines(dataset)
    assert first.system == second.system
    assert lines["2"] == "Heat. Crime"
    assert all("\n" not in line and len(line) <= judge.words * 16 for line in lines.values())
    assert first.user.partition("New:")[0] == second.user.partition("New:")[0]


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
