"""The filter on samples and a catalogue that are read by parts: the same files, and memory that does not hold texts."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
from orchard import APPLE, catalogue, sample
from test_stored import MIB, peak, write_large

from llm_aug import chosen, files, filters, results, spool
from llm_aug.config import recipe_of
from llm_aug.data import Origin, Pair, Sample, Split
from llm_aug.errors import InputError
from llm_aug.files import write_parquet
from llm_aug.pipeline import filter_samples
from llm_aug.recent import Recent
from llm_aug.sources.samples import read_samples, store_samples
from llm_aug.splits import split_hash, write_split
from llm_aug.stored import StoredDataset
from llm_aug.tables import samples_table
from llm_aug.tidy import read_item_ids
from llm_aug.vectors import load_encoder

SAMPLES = [
    sample("a", "apple", APPLE),
    sample("b", "pear", APPLE),
    sample("c", "apple", APPLE.upper()),
    sample("d", "pear", "A soft green fruit that falls into the basket of a garden."),
    sample("e", "car", "Call me at 555-123-4567 about the old car in the street."),
    sample("f", "apple", "fruit"),
    sample("g", "nothing", APPLE),
]
OUTPUTS = ("kept.parquet", "dropped.parquet", "scores.parquet", "filter.json", "corpus.json")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of two rows, runs of two samples, and nothing that is remembered for long."""
    monkeypatch.setattr(files, "BATCH_ROWS", 2)
    monkeypatch.setattr(spool, "TAIL_BYTES", 64)
    monkeypatch.setattr(chosen, "ROWS", 2)


def split(folder: Path) -> Path:
    known = catalogue()
    log = known.interactions
    parts = {"train": log, "validation": log[:0], "test": log[:0]}
    hashed = split_hash(known.items, parts.values())
    write_split(folder, Split(known.items, **parts, cold_items=(), cold_users=(), hash=hashed))
    return folder


def test_parts_give_the_files_that_lists_give(tmp_path: Path, small: None) -> None:
    folder = split(tmp_path / "split")
    write_parquet(tmp_path / "samples.parquet", samples_table(SAMPLES))
    dataset = catalogue()
    stored = StoredDataset(folder / "items.parquet", dataset.interactions, tmp_path / "spool")
    encoder = load_encoder("hash:64")
    earlier = [sample("z", "pear", "A soft green fruit from another garden and its basket.")]
    filters.run(SAMPLES, dataset, encoder, earlier=earlier).write(tmp_path / "lists")
    samples = store_samples(tmp_path / "samples.parquet", tmp_path / "spool")
    filters.run(samples, stored, encoder, earlier=earlier).write(tmp_path / "parts")
    assert "items" not in vars(stored), "the whole catalogue was read"
    for name in OUTPUTS:
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "lists" / name).read_bytes(), name


def test_results_of_several_row_groups_hold_every_sample_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "GROUP_ROWS", 2)
    filters.run(SAMPLES, catalogue(), load_encoder("hash:64")).write(tmp_path)
    ids = [pd.read_parquet(tmp_path / f"{name}.parquet")["sample_id"].tolist() for name in ("kept", "dropped")]
    assert sorted(ids[0] + ids[1]) == pd.read_parquet(tmp_path / "scores.parquet")["sample_id"].tolist()


def test_the_stage_leaves_nothing_else_on_the_disk(tmp_path: Path, small: None) -> None:
    write_parquet(tmp_path / "samples.parquet", samples_table(SAMPLES))
    recipe = recipe_of(encoder="hash:64")
    filter_samples(recipe, tmp_path / "samples.parquet", split(tmp_path / "split"), tmp_path / "kept")
    assert {path.name for path in (tmp_path / "kept").iterdir()} - {".lock"} == {*OUTPUTS, "seen.parquet", "stage.json"}


def test_samples_by_parts_are_refused_as_a_whole(tmp_path: Path, small: None) -> None:
    twice = [*SAMPLES, SAMPLES[0]]
    write_parquet(tmp_path / "samples.parquet", samples_table(twice))
    for read in (read_samples, lambda path: store_samples(path, tmp_path)):
        with pytest.raises(InputError, match="1 rows have a sample_id that stands there before, the first in row 8"):
            read(tmp_path / "samples.parquet")


def test_joined_lists_skip_the_empty_ones() -> None:
    parts = chosen.joined([[], ["a", "b"], [], ["c"], []])
    assert list(parts) == ["a", "b", "c"]
    assert [parts[row] for row in range(3)] == ["a", "b", "c"]
    assert list(chosen.joined([])) == []


def test_what_was_worked_out_longest_ago_is_forgotten_first() -> None:
    made: list[str] = []
    recent = Recent[str, str](4)
    for key in ("aa", "bb", "aa", "cc", "bb", "aa"):
        recent.get(key, lambda key=key: made.append(key) or key, 2)  # type: ignore[misc,func-returns-value]
    assert made == ["aa", "bb", "cc", "aa"]


def test_stored_samples_read_like_a_list(tmp_path: Path) -> None:
    pairs = (Pair("1", "apple"), Pair("2", "pear", 30, 4.5))
    history = Sample("h", "history", "1", None, pairs, 0.25, Origin("llm", parents=("1", "2"), seed=2**62))
    samples = [*SAMPLES, history]
    write_parquet(tmp_path / "samples.parquet", samples_table(samples))
    read = store_samples(tmp_path / "samples.parquet", tmp_path)
    assert list(read) == samples
    assert list(read[2:4]) == samples[2:4]
    assert [rows for rows, _ in chosen.runs(read, [5, 1, 3])] == [[5, 1, 3]]


FILTER = """
pipeline.filter_samples(recipe_of(encoder="hash:16"), *map(Path, sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss of a child counts its parent's memory too")
def test_memory_holds_no_more_than_twice_the_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every item has 8 KiB, and every 10th a sample."""
    monkeypatch.setenv("LLM_AUG_CACHE", str(tmp_path / "cache"))
    peaks = []
    for size in (24, 56):  # beyond what is remembered
        folder = write_large(tmp_path / f"split-{size}", size, own=True)
        ids = read_item_ids(folder / "items.parquet")["item_id"].tolist()
        made = [
            Sample(f"s{item}", "description", item, f"A quiet harbour of boats waits for rain, says {item} of it.")
            for item in ids[::10]
        ]
        write_parquet(tmp_path / f"{size}.parquet", samples_table(made))
        peaks.append(peak(FILTER, tmp_path / f"{size}.parquet", folder, tmp_path / f"kept-{size}"))
    assert peaks[1] - peaks[0] < 64 * MIB, peaks
