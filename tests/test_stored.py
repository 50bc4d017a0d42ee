"""Catalogues that are read by parts: the bytes are the same, and memory does not grow with the texts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.split import cut
from llm_aug import files, pipeline, questions, sources, spool
from llm_aug.backends.scripted import Scripted
from llm_aug.clean import CleanOptions, clean, write_clean
from llm_aug.config import recipe_of
from llm_aug.data import Prompt, Sampling, Split, read_dataset, tidy_interactions, tidy_items
from llm_aug.errors import InputError
from llm_aug.files import write_parquet
from llm_aug.generate import GenerateOptions, dataset_hash, generate
from llm_aug.sources.raw import RawDataset, RawTable
from llm_aug.splits import read_split, split_hash, write_split
from llm_aug.stored import StoredDataset
from llm_aug.tasks.rewrite import Rewrite
from llm_aug.tidy import read_item_ids, read_items

NAMES = ["Apple", "Pear", "Plum", "Quince", "Cherry", "Fig", "Grape", "Lime", "Kiwi"]
MIB = 2**20


def table(**more: Any) -> pa.Table:
    """Every third item has no description, every fourth no kind; 7, 8, ... are ids beside which 7.0 is the same."""
    rows = range(len(NAMES))
    columns = {
        "item_id": [7 + row for row in rows],
        "title": NAMES,
        "description": [
            None if row % 3 == 0 else f"A ripe {NAMES[row]} from the old garden by the sea." for row in rows
        ],
        "kind": [None if row % 4 == 0 else ["Red|Sweet", "Green"][row % 2] for row in rows],
        "grams": [None if row == 8 else 2**53 + row for row in rows],
        "parts": [["peel", "stone"]] * len(NAMES),
        **more,
    }
    return pa.table(columns)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files, "BATCH_ROWS", 2)
    monkeypatch.setattr(spool, "TAIL_BYTES", 64)
    monkeypatch.setattr(questions, "HELD_LETTERS", 200)
    write_parquet(tmp_path / "items.parquet", table())
    log = pa.table({"user_id": ["u"], "item_id": ["7"], "timestamp": [5], "rating": [None]})
    write_parquet(tmp_path / "interactions.parquet", log)
    return tmp_path


def stored(folder: Path) -> StoredDataset:
    return StoredDataset(folder / "items.parquet", read_dataset(folder).interactions, folder / "spool")


def model() -> Scripted:
    def answer(prompt: Prompt, sampling: Sampling, seed: int) -> str:
        if "Missing" in prompt.user:
            return "kind: Green"
        fruit = prompt.user.splitlines()[0].removeprefix("Title: ")
        return (
            f"{fruit}, {['fresh', 'ripe', 'sweet'][seed % 3]} and sold by the sea, from a garden older than its walls."
        )

    return Scripted(answer, lambda prompt, continuation: 0.0)


def test_it_tells_what_the_loaded_catalogue_tells(folder: Path) -> None:
    parts, loaded = stored(folder), read_dataset(folder)
    assert (parts.columns, parts.attributes) == (loaded.columns, loaded.attributes)
    assert list(parts.rows([8, 0, 3])) == list(loaded.rows([8, 0, 3]))
    assert [value for part in parts.values("kind") for value in part] == loaded.items["kind"].tolist()
    assert dataset_hash(parts) == dataset_hash(loaded)
    assert loaded.items["grams"].iloc[1] == str(2**53 + 1)
    pd.testing.assert_frame_equal(parts.items, loaded.items)
    pd.testing.assert_series_equal(read_item_ids(parts.path)["item_id"], read_items(parts.path)["item_id"])


@pytest.mark.parametrize(
    "task",
    [
        Rewrite(),
        Rewrite(copies=2, limit=3),
        Rewrite(style="expand", seed=4),
        Rewrite(style="attributes"),
        Rewrite(style="fuse", sources=("parts",), items=("9", "7", "11")),
    ],
    ids=lambda task: f"{task.style}-{task.limit}",
)
def test_samples_and_rejects_are_those_of_the_loaded_catalogue(folder: Path, task: Rewrite) -> None:
    results = {}
    for name, dataset in (("parts", stored(folder)), ("loaded", read_dataset(folder))):
        results[name] = generate(replace(task), dataset, model(), GenerateOptions(), folder / name)
        if name == "parts":
            assert "items" not in vars(dataset), "the whole catalogue was read"
    assert results["parts"] == results["loaded"]
    for name in ("samples.parquet", "rejects.parquet", "manifest.json"):
        assert (folder / "parts" / name).read_bytes() == (folder / "loaded" / name).read_bytes()


def test_nothing_is_left_on_the_disk(folder: Path) -> None:
    generate(Rewrite(), stored(folder), model(), GenerateOptions(), folder / "made")
    assert list((folder / "spool").iterdir()) == []
    assert {path.name for path in (folder / "made").iterdir()} >= {"answers", "manifest.json", "samples.parquet"}
    assert [path for path in (folder / "made").iterdir() if path.name.startswith("tmp")] == []


FOREIGN = {
    "asin": pa.array([7, 8, None, 8, 9, 10, 11, 12, 13]),
    "title": pa.array([b"Apple", b"Pear", b"Plum", b"Pear", b"\xff Quince", None, b"<b>Fig</b>", b"Lime", b"Kiwi"]),
    "description": ["Ripe &amp; red.", "", None, "", "Hard.", None, "Sweet\u200b.", "Sour.", "Green."],
    "kind": pa.array(["Red", None, "Green", None, "Red", "Red", None, "Green", "Red"]).dictionary_encode(),
    "grams": [None, 2**53 + 1, 3, 4, 5, 6, 7, 8, 9],
    "parts": [["peel", "stone"], [], None, ["peel"], [None, "core"], [], [], ["peel"], ["skin"]],
    "fresh": [True, None, False, True, True, True, None, True, False],
    "since": pa.array([0, 1, None, 3, 4, 5, 6, 7, 8], pa.timestamp("s")),
    "price": [1.0, 2.5, None, 3.0, 4.0, None, 5.0, 6.0, 7.0],
    "item_id": ["in the way"] * 9,
}
MAPPED = {"item_id": "asin", "title": "title", "name": "title"}  # one column under two names


def written(folder: Path, raw: RawDataset, options: CleanOptions) -> dict[str, bytes]:
    write_clean(folder, clean(raw, options, folder))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    "options", [CleanOptions(), CleanOptions(min_item_count=1, attributes=("grams", "fresh"), keep_html=True)]
)
def test_a_foreign_catalogue_is_cleaned_by_parts_as_it_is_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: CleanOptions
) -> None:
    (tmp_path / "source").mkdir()
    pq.write_table(pa.table(FOREIGN), tmp_path / "source" / "items.parquet", row_group_size=4)
    log = [{"user_id": f"u{user}", "item_id": item} for user in range(3) for item in (7, 8, 12)]
    pq.write_table(pa.Table.from_pylist(log), tmp_path / "source" / "interactions.parquet")
    raw = sources.read(tmp_path / "source", MAPPED)
    items = raw.items
    whole = replace(raw, items=RawTable(items.file, items.frame, items.lines))
    loaded = written(tmp_path / "loaded", whole, options)
    monkeypatch.setattr(files, "BATCH_ROWS", 2)
    monkeypatch.setattr(spool, "TAIL_BYTES", 16)
    raw = sources.read(tmp_path / "source", MAPPED)
    parts = written(tmp_path / "parts", raw, options)
    assert "frame" not in vars(raw.items), "the whole catalogue was read"
    assert parts.keys() == loaded.keys()
    assert parts["dropped.parquet"] == loaded["dropped.parquet"]
    assert parts["clean.json"] == loaded["clean.json"]
    found, expected = (read_dataset(tmp_path / name) for name in ("parts", "loaded"))
    pd.testing.assert_frame_equal(found.items, expected.items)
    kept = ["7", "8", "12"] if options.min_item_count else ["7", "8", "9", "11", "12", "13"]
    assert found.items["item_id"].tolist() == kept
    if options.attributes is None:
        assert found.items["name"].tolist() == found.items["title"].tolist()


def test_a_split_by_parts_is_that_of_the_loaded_catalogue(folder: Path) -> None:
    log = [(f"u{user}", str(7 + (user + step) % 9), step) for user in range(9) for step in range(5)]
    columns = dict(zip(("user_id", "item_id", "timestamp"), map(list, zip(*log, strict=True)), strict=True))
    write_parquet(folder / "interactions.parquet", pa.table(columns))
    write_split(folder / "loaded", cut(read_dataset(folder)))
    pipeline.split(recipe_of(), folder, folder / "parts")
    for name in ("train.parquet", "validation.parquet", "test.parquet", "split.json"):
        assert (folder / "parts" / name).read_bytes() == (folder / "loaded" / name).read_bytes()
    found, expected = (read_split(folder / name) for name in ("parts", "loaded"))
    pd.testing.assert_frame_equal(found.items, expected.items)
    assert pq.read_metadata(folder / "parts" / "items.parquet").num_row_groups == 1


@pytest.mark.parametrize(("ids", "words"), [([*range(8), 0], "stands there before"), ([*range(8), None], "no item_id")])
def test_ids_are_checked_by_parts_as_they_are_as_a_whole(folder: Path, ids: list[Any], words: str) -> None:
    write_parquet(folder / "items.parquet", table(item_id=ids))
    told = []
    for read in (read_items, read_item_ids):
        with pytest.raises(InputError, match=words) as error:
            read(folder / "items.parquet")
        told.append(str(error.value))
    assert told[0] == told[1]


def test_an_empty_catalogue_and_a_damaged_one_say_what_they_are(folder: Path) -> None:
    write_parquet(folder / "items.parquet", table()[:0])
    assert dataset_hash(stored(folder)) == dataset_hash(read_dataset(folder))
    assert list(stored(folder).rows([])) == []
    (folder / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a readable parquet file"):
        list(stored(folder).values("title"))


def write_large(folder: Path, mebibytes: int, own: bool = False) -> Path:
    """A split of items whose descriptions have 8 KiB each, in one row group, as `split` would write it.

    own: whether the words of each are its own.
    """
    items, text = mebibytes * 128, "the quiet harbour of old paper boats waits for rain "
    random = np.random.default_rng(0)
    descriptions = (
        [f"harbour{row} paper{row} boats{row} " * (8192 // 24) for row in range(items)]
        if own
        else [f"Item {row} {random.bytes(2048).hex()} {text * 79}" for row in range(items)]
    )
    ids = [f"i{row}" for row in range(items)]
    frame = tidy_items(pd.DataFrame({"item_id": ids, "title": ids, "description": descriptions}))
    nothing = tidy_interactions(pd.DataFrame({"user_id": [], "item_id": []}))
    parts = dict.fromkeys(("train", "validation", "test"), nothing)
    write_split(folder, Split(frame, **parts, cold_items=(), cold_users=(), hash=split_hash(frame, parts.values())))
    return folder


PEAK = """
import re, sys
from pathlib import Path
from llm_aug import pipeline
from llm_aug.config import recipe_of
from llm_aug.generators import ask
{body}
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]))
"""
ASK = """
ask(recipe_of(model=sys.argv[3], rewrite={"limit": 500}), "rewrite", Path(sys.argv[1]), None, Path(sys.argv[2]))
"""
PREPARE = """
source, made = map(Path, sys.argv[1:])
pipeline.prepare(recipe_of(data={"source": str(source)}), made / "data")
pipeline.split(recipe_of(), made / "data", made / "split")
"""


def peak(body: str, *arguments: object) -> int:
    """Bytes that a process of its own held at most."""
    command = [sys.executable, "-c", PEAK.replace("{body}", body), *map(str, arguments)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss of a child counts its parent's memory too")
def test_memory_of_preparing_does_not_grow_with_the_texts_of_the_catalogue(tmp_path: Path) -> None:
    peaks = []
    for size in (20, 200):
        source = write_large(tmp_path / f"source-{size}", size)
        log = pa.table(
            {"user_id": [f"u{row % 50}" for row in range(500)], "item_id": [f"i{row}" for row in range(500)]}
        )
        pq.write_table(log, source / "interactions.parquet")
        peaks.append(peak(PREPARE, source, tmp_path / f"made-{size}"))
        assert pq.read_metadata(tmp_path / f"made-{size}" / "split" / "items.parquet").num_rows == 128 * size
    assert peaks[1] - peaks[0] < 100 * MIB, peaks


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss of a child counts its parent's memory too")
def test_memory_does_not_grow_with_the_texts_of_the_catalogue(tmp_path: Path) -> None:
    (tmp_path / "script.json").write_text('{"rules": [{"pattern": ".", "answer": "A quiet book about paper boats."}]}')
    peaks = []
    for size in (20, 200):
        split = write_large(tmp_path / f"split-{size}", size)
        peaks.append(peak(ASK, split, tmp_path / f"made-{size}", f"scripted:{tmp_path / 'script.json'}"))
    assert pq.read_metadata(tmp_path / "split-200" / "items.parquet").num_row_groups == 1
    assert peaks[1] - peaks[0] < 100 * MIB, peaks
