"""Why a sample fell, from a result in memory and from what it wrote; two fruits and a van, as in test_filters."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from orchard import APPLE, WordCounts, catalogue, judge, pair, sample
from test_stored_filter import split

from llm_aug import pipeline
from llm_aug.config import recipe_of
from llm_aug.data import Dataset, Pair, Sample
from llm_aug.errors import InputError
from llm_aug.files import read_json, read_parquet, write_parquet
from llm_aug.filters import FilterResult, explain, run
from llm_aug.filters.borderline import Near
from llm_aug.tables import samples_table

NEAR_PEAR = "soft green fruit inside a garden basket hand"
SAMPLES = [
    sample("a1", "apple", APPLE),
    sample("a2", "pear", APPLE),
    sample("a3", "apple", APPLE.upper()),
    sample("b1", "apple", NEAR_PEAR),
    sample("b2", "apple", "fruit"),
    pair("c1", "ann", "car"),
    pair("c2", "bob", "car"),
    Sample("c3", "history", "new", interactions=(Pair("new", "apple"), Pair("new", "pear"))),
]


@pytest.fixture(scope="module")
def result() -> FilterResult:
    return judge(*SAMPLES)


@pytest.fixture(scope="module")
def folder(result: FilterResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    result.write(folder)
    return folder


def told(result: FilterResult, sample_id: str, training: Dataset | None = None) -> str:
    return explain.shown(explain.from_result(result, sample_id), training or catalogue())


@pytest.mark.parametrize("sample_id", [one.sample_id for one in SAMPLES])
def test_it_is_the_same_from_memory_and_from_disk(result: FilterResult, folder: Path, sample_id: str) -> None:
    assert explain.shown(explain.from_folder(folder, sample_id), catalogue()) == told(result, sample_id)


def test_a_kept_sample_stands_beside_its_item_and_its_neighbour(result: FilterResult) -> None:
    words = told(result, "a1")
    assert words.startswith("a1: description of apple, kept\n")
    assert re.search(
        r"near_duplicate +nothing against it, score 0.154, nearest pear\n +similarity 0.9 \(default:", words
    )
    row = next(line for line in words.splitlines() if APPLE in line)
    assert [cell.strip() for cell in row.split("|")] == [
        "sweet red fruit picked by hand",
        "sweet red fruit from the old orchard",
        "soft green fruit inside a garden",
    ]


def test_the_step_that_dropped_it_is_named_and_none_after_it(result: FilterResult) -> None:
    words = told(result, "b1")
    assert words.startswith("b1: description of apple, dropped by near_duplicate: near_duplicate\n")
    assert re.search(r"  near_duplicate +near_duplicate, score 0.935, nearest pear\n", words)
    assert re.search(r"  fidelity +not reached\n", words)
    assert "margin" not in words
    assert told(result, "b2").startswith("b2: description of apple, dropped by quality: too_short\n")


def test_a_repeat_stands_beside_the_sample_that_it_repeats(result: FilterResult) -> None:
    words = told(result, "a3")
    assert "repeat: nearest is sample a1" in words
    assert "dropped by repeat: repeated_text" in words


def test_pairs_are_told_by_titles(result: FilterResult) -> None:
    assert "bob -> Car" in told(result, "c2")
    assert "dropped by pairs: in_train" in told(result, "c2")
    assert "ann -> Car" in told(result, "c1")


def test_a_copied_history_stands_beside_the_user_that_it_gives_away(result: FilterResult) -> None:
    words = told(result, "c3")
    assert "dropped by pairs: copied_history" in words
    assert "pairs: nearest is user ann" in words
    assert words.count("Apple") == words.count("Pear") == 2


@pytest.mark.parametrize(("wrong", "words"), [("a9", "did you mean 'a"), ("zzz", "one of 8 is 'a1'")])
def test_an_unknown_id_is_refused(result: FilterResult, folder: Path, wrong: str, words: str) -> None:
    with pytest.raises(InputError, match=f"the samples: no sample '{wrong}'; {words}"):
        explain.from_result(result, wrong)
    with pytest.raises(InputError, match=f"{folder}: no sample '{wrong}'; {words}"):
        explain.from_folder(folder, wrong)


def test_the_step_that_dropped_each_is_written(result: FilterResult, folder: Path) -> None:
    rows = {row["sample_id"]: row for row in read_parquet(folder / "scores.parquet").to_pylist()}
    assert [rows[one.sample_id]["dropped_by"] for one in SAMPLES] == list(result.dropped_by)
    assert result.dropped_by == ("", "fidelity", "repeat", "near_duplicate", "quality", "", "pairs", "pairs")
    assert (rows["b1"]["near_duplicate"], rows["b1"]["near_duplicate_nearest"]) == (
        pytest.approx(0.935, abs=1e-3),
        "pear",
    )


def test_borderline_samples_are_the_nearest_on_either_side_of_each_threshold() -> None:
    result = judge(*(sample(f"{n}", "apple", " ".join(APPLE.split()[:n])) for n in range(2, 7)))
    near = result.borderline()["quality"]
    short = [(one.sample_id, one.score) for one in near if one.threshold == "min_words"]
    assert short == [("3", 3), ("2", 2)]  # 3 words are nearer to 4 than 2 are
    assert {one.keep for one in near if one.threshold == "min_words"} == {False}
    margin = result.scores["fidelity"][4]  # of all six words: the more are not the apple's, the nearer to other items
    assert result.borderline(1)["fidelity"] == [Near("6", True, "margin", pytest.approx(margin), 0.01)]
    assert result.borderline(0) == {}


def test_a_score_that_decided_nothing_is_on_no_border() -> None:
    """A repeated text scores 1, which is beyond any threshold of similarity, but fell by its words."""
    result = judge(sample("1", "apple", APPLE), sample("2", "apple", APPLE))
    assert result.verdicts[1].score == 1
    assert "2" not in [one.sample_id for one in result.borderline().get("repeat", ())]


def test_thresholds_are_told_with_their_sources_and_their_neighbours(result: FilterResult, folder: Path) -> None:
    lines = list(result.told())
    assert "fidelity.copy = 0.98 (default: a text with a word or two changed)" in lines
    near = next(line for line in lines if line.startswith("near_duplicate.similarity = 0.9 (default: only 4"))
    assert near.endswith("; nearest: kept 0.4629 (a2), dropped 0.9354 (b1)")
    border = read_json(folder / "filter.json")["borderline"]
    dropped = [row for row in border["near_duplicate"] if not row["keep"]]
    assert [row["sample_id"] for row in dropped] == ["b1"]
    assert read_json(folder / "corpus.json")["description"]["samples"] == 1


def test_an_earlier_sample_is_the_neighbour_that_is_shown(tmp_path: Path) -> None:
    earlier = [sample("old/a", "apple", APPLE)]
    asked = [sample("b", "apple", APPLE + "!"), sample("a", "pear", "soft green fruit picked by hand")]
    result = run(asked, catalogue(), WordCounts(), earlier=earlier)
    assert result.dropped_by[0] == "repeat"
    result.write(tmp_path)
    words = told(result, "b")
    assert explain.shown(explain.from_folder(tmp_path, "b", earlier), catalogue()) == words
    assert "repeat: nearest is sample old/a" in words
    assert "soft green fruit picked by hand" not in words
    assert words.count(APPLE) == 2  # its own words and those of the earlier one


def test_a_finished_filter_shows_the_neighbour_from_an_earlier_run(tmp_path: Path) -> None:
    text = "soft green fruit picked by hand"
    runs = {
        "first": [sample("one", "pear", text)],
        "second": [sample("two", "pear", text), sample("new", "apple", APPLE)],
    }
    for name, samples in runs.items():
        write_parquet(tmp_path / f"{name}.parquet", samples_table(samples))
    place, second, kept = split(tmp_path / "split"), tmp_path / "second.parquet", tmp_path / "kept"
    recipe = recipe_of(encoder="hash:64", filter={"repeat": {"against": [str(tmp_path / "first.parquet")]}})
    pipeline.filter_samples(recipe, second, place, kept)
    words = pipeline.explain_sample(recipe, second, place, "two", kept)
    assert "repeated_text, score 1.000, nearest earlier-1/one" in words
    assert words.count(text) == 2


def test_another_run_under_the_same_keys_is_judged_by_what_it_says(tmp_path: Path) -> None:
    first = [sample("key/1", "pear", "soft green fruit picked by hand"), sample("key/2", "apple", APPLE)]
    second = [sample("key/1", "pear", "a sweet pear, green and soft"), sample("key/2", "apple", APPLE)]
    for name, samples in {"first": first, "second": second}.items():
        write_parquet(tmp_path / f"{name}.parquet", samples_table(samples))
    recipe = recipe_of(encoder="hash:64", filter={"repeat": {"against": [str(tmp_path / "first.parquet")]}})
    pipeline.filter_samples(recipe, tmp_path / "second.parquet", split(tmp_path / "split"), tmp_path / "kept")
    dropped = read_parquet(tmp_path / "kept" / "dropped.parquet")
    assert "repeated_id" not in dropped["reason"].to_pylist()
    told_of = dict(zip(dropped["sample_id"].to_pylist(), dropped["nearest"].to_pylist(), strict=True))
    assert told_of["key/2"] == "earlier-1/key/2"
