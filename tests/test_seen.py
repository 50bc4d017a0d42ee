"""What went into samples is recorded beside them, by whichever way it came, and a split knows its own rows in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from shop import write_script

from eval.arms import read_arm
from eval.split import SplitOptions, cut
from llm_aug import generators, pipeline
from llm_aug.backends import load_llm
from llm_aug.config import Recipe, recipe_of
from llm_aug.data import Dataset, Split, tidy_interactions, tidy_items
from llm_aug.errors import InputError, LlmAugError, ShortOfTarget
from llm_aug.files import write_json, write_parquet
from llm_aug.finetune_record import FINETUNE_RECORD, catalogue_hash
from llm_aug.learn import shown_to
from llm_aug.seen import NOTHING, SEEN, hashes_of, leak, read_seen, write_seen
from llm_aug.splits import write_split
from llm_aug.tasks import load_task, reads_interactions


def whole(split: Split) -> Dataset:
    return Dataset(split.items, pd.concat([split.train, split.validation, split.test], ignore_index=True))


@pytest.fixture(scope="module")
def other(tastes: Split) -> Split:
    """The same log, cut otherwise."""
    return cut(whole(tastes), SplitOptions(validation_cold_fraction=0.1, seed=2))


def log(*pairs: tuple[str, str]) -> pd.DataFrame:
    return tidy_interactions(pd.DataFrame(pairs, columns=["user_id", "item_id"]))


def fruits(train: pd.DataFrame, test: pd.DataFrame, **changes: object) -> Split:
    items = tidy_items(pd.DataFrame({"item_id": ["1", "2", "3"], "title": ["apple", "pear", "fig"]}))
    return replace(Split(items, train, test.iloc[:0], test, (), (), "h"), **changes)  # type: ignore[arg-type]


def test_the_hashes_are_those_that_files_of_years_ago_hold() -> None:
    """Another value would make every old record useless."""
    split = fruits(log(("ann", "1")), log())
    assert hashes_of(split.training).tolist() == [2002320280775848553, 11590258024094270050, 13479684816630116363]


def test_every_pair_user_and_item_has_its_own_hash(tastes: Split) -> None:
    pairs = tastes.train.drop_duplicates(["user_id", "item_id"])
    counts = len(pairs), pairs["user_id"].nunique(), pairs["item_id"].nunique()
    found = hashes_of(tastes.training)
    assert len(found) == sum(counts)
    assert (np.diff(found.astype(object)) > 0).all()
    shuffled = replace(tastes.training, interactions=tastes.train.sample(frac=1, random_state=0))
    assert np.array_equal(hashes_of(shuffled), found)
    assert hashes_of(replace(tastes.training, interactions=tastes.train.iloc[:0])).tolist() == []


def test_users_and_items_of_one_name_are_told_apart() -> None:
    one, two = (hashes_of(fruits(log(pair), log()).training) for pair in (("1", "2"), ("2", "1")))
    assert not np.isin(one, two).any()


def test_a_split_finds_held_out_rows_and_nothing_in_its_own(tastes: Split, other: Split) -> None:
    assert leak(tastes, hashes_of(tastes.training)) == ""
    assert leak(tastes, NOTHING) == ""
    held = len(tastes.validation) + len(tastes.test)
    found = leak(tastes, hashes_of(whole(tastes)))
    row = pd.concat([tastes.validation, tastes.test]).iloc[0]
    assert found.startswith(f"{held} of the {held} rows that this split holds out, for example user {row['user_id']!r}")
    assert "rows that this split holds out" in leak(tastes, hashes_of(other.training))


def test_an_item_bought_again_is_no_leak() -> None:
    again = fruits(log(("ann", "1"), ("bob", "2")), log(("ann", "1"), ("ann", "3")), cold_items=("3",))
    assert leak(again, hashes_of(again.training)) == ""


def test_revealed_rows_of_a_cold_user_are_no_leak_and_the_withheld_ones_are() -> None:
    split = fruits(log(("ann", "1"), ("bob", "2")), log(("ann", "2")), cold_users=("ann",), revealed=1)
    split = replace(split, withheld=log(("ann", "3")))
    assert leak(split, hashes_of(split.training)) == ""
    seen = hashes_of(replace(split.training, interactions=log(("ann", "1"), ("ann", "3"))))
    assert leak(split, seen).startswith("1 of the 2 rows that this split holds out, for example user 'ann' with item")


def test_a_row_of_a_cold_item_that_no_part_holds_is_a_leak_too() -> None:
    split = fruits(log(("ann", "1")), log(("ann", "3")), cold_items=("3",))
    seen = hashes_of(replace(split.training, interactions=log(("bob", "3"))))
    assert leak(split, seen) == "interactions of 1 of this split's cold items, for example of '3'"


def test_the_same_ids_in_another_catalogue_are_others() -> None:
    split = fruits(log(("1", "1")), log(("1", "2")))
    more = tidy_items(pd.DataFrame({"item_id": ["1", "2"], "title": ["car", "bus"]}))
    assert leak(split, hashes_of(Dataset(more, log(("1", "2"))))) == ""


def test_a_record_only_grows(tastes: Split, tmp_path: Path) -> None:
    assert read_seen(tmp_path) is None
    mine, all_of_it = hashes_of(tastes.training), hashes_of(whole(tastes))
    write_seen(tmp_path, all_of_it)
    first = (tmp_path / SEEN).read_bytes()
    write_seen(tmp_path, mine, NOTHING)
    assert (tmp_path / SEEN).read_bytes() == first
    assert np.array_equal(read_seen(tmp_path / "kept.parquet"), all_of_it)  # type: ignore[arg-type]


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / SEEN, pa.table({"seen": ["ann"]}))
    with pytest.raises(InputError, match=r"is no record of pairs: it has one column 'seen' of uint64"):
        read_seen(tmp_path)


def test_a_rewrite_reads_no_interaction_and_every_other_task_may(tastes: Split) -> None:
    task = load_task("rewrite")
    empty = replace(tastes.training, interactions=tastes.train.iloc[:0])
    assert not reads_interactions(task)
    assert list(task.requests(empty)) == list(task.requests(tastes.training))
    assert list(task.examples(empty)) == list(task.examples(tastes.training))
    assert all(reads_interactions(load_task(name)) for name in ("history", "review", "profile"))


def made_with(*tasks: str) -> Recipe:
    return recipe_of(finetune={"tasks": list(tasks)})


def test_what_an_adapter_learns_from_is_what_its_tasks_read(tastes: Split) -> None:
    assert len(shown_to(made_with("rewrite"), tastes)) == 0
    for tasks in (["judge"], ["rewrite", "history"]):
        assert np.array_equal(shown_to(made_with(*tasks), tastes), hashes_of(tastes.training))


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A model that writes of every title, whatever the adapter."""
    rule = {"pattern": "Title: (?P<title>.+)", "answer": "All of it is about \\g<title> and about nothing else."}
    model = write_script(tmp_path / "script.json", **rule)
    monkeypatch.setattr(generators, "llm_of", lambda name, adapter, engine: load_llm(name))
    return recipe_of(model=model, encoder="hash:64", rewrite={"limit": 8}, history={"users_with_at_most": 9})


def adapter(folder: Path, split: Split, recipe: Recipe) -> Path:
    """As `finetune` leaves it, but for the weights."""
    write_seen(folder, shown_to(recipe, split))
    record = {"split_hash": split.hash, "catalogue": catalogue_hash(split.items["item_id"])}
    write_json(folder / FINETUNE_RECORD, record)
    return folder


def rewritten(recipe: Recipe, split: Split, tuned: Path | None, folder: Path) -> Path:
    """The samples that the adapter's model writes for the split."""
    if not (folder / "split").exists():
        write_split(folder / "split", split)
    pipeline.ask(recipe, "rewrite", folder / "split", tuned, folder / "samples")
    return folder / "samples" / "samples.parquet"


def test_an_adapter_tuned_on_another_split_is_told_and_its_samples_are_refused(
    recipe: Recipe, tastes: Split, other: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = rewritten(recipe, tastes, adapter(tmp_path / "adapter", other, made_with("history")), tmp_path)
    assert "`evaluate` refuses what it makes" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"seen\.parquet it was made from \d+ of the \d+ rows that this split holds"):
        read_arm("llm", samples, tastes)


def test_an_adapter_tuned_on_the_whole_log_is_refused(recipe: Recipe, tastes: Split, tmp_path: Path) -> None:
    log_itself = replace(tastes, train=whole(tastes).interactions)
    samples = rewritten(recipe, tastes, adapter(tmp_path / "adapter", log_itself, made_with("judge")), tmp_path)
    with pytest.raises(InputError, match="it was made from"):
        read_arm("llm", samples, tastes)


def test_honest_adapters_and_none_pass(
    recipe: Recipe, tastes: Split, other: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = adapter(tmp_path / "own", tastes, made_with("judge"))
    words = adapter(tmp_path / "words", other, made_with("rewrite"))  # of the other split it learnt texts alone
    (tmp_path / "foreign").mkdir()
    for place, tuned in enumerate((None, own, words, tmp_path / "foreign")):
        samples = rewritten(recipe, tastes, tuned, tmp_path / str(place))
        assert read_arm("llm", samples, tastes).texts > 0
    assert capsys.readouterr().err.count("nobody can tell if held-out rows were among them") == 1


def test_other_samples_hand_their_record_on_and_so_does_the_filter(
    recipe: Recipe, tastes: Split, other: Split, tmp_path: Path
) -> None:
    write_split(tmp_path / "split", tastes)
    for name, seen, refused in (("honest", tastes, False), ("leaky", other, True)):
        source, made, kept = (tmp_path / f"{name}-{part}" for part in ("source", "made", "kept"))
        pairs = pa.Table.from_pandas(tastes.train[["user_id", "item_id"]][:40], preserve_index=False)
        write_parquet(source / "kept.parquet", pairs)
        write_seen(source, hashes_of(seen.training))
        pipeline.controls(recipe, "random-items", tmp_path / "split", source, made)
        assert set(hashes_of(tastes.training)) <= set(read_seen(made))  # type: ignore[arg-type]
        pipeline.filter_samples(recipe, made, tmp_path / "split", kept)
        if refused:
            with pytest.raises(InputError, match=rf"{kept.name}/seen\.parquet it was made from"):
                read_arm("llm", kept, tastes)
        else:
            assert read_arm("llm", kept, tastes).samples


def test_a_record_that_was_removed_or_exchanged_is_named(
    recipe: Recipe, tastes: Split, other: Split, tmp_path: Path
) -> None:
    samples = rewritten(recipe, tastes, adapter(tmp_path / "adapter", other, made_with("history")), tmp_path)
    (samples.parent / SEEN).unlink()
    with pytest.raises(InputError, match=r"seen\.parquet was written and is not there"):
        read_arm("llm", samples, tastes)
    write_seen(samples.parent, hashes_of(tastes.training))
    with pytest.raises(InputError, match=r"seen\.parquet is not the file that was written"):
        read_arm("llm", samples, tastes)


def test_a_task_that_reads_the_log_records_it_even_where_nothing_comes_of_it(
    recipe: Recipe, tastes: Split, tmp_path: Path
) -> None:
    write_split(tmp_path / "split", tastes)
    for name, log_rows in (("history", hashes_of(tastes.training)), ("rewrite", NOTHING)):
        with suppress(ShortOfTarget):
            pipeline.ask(recipe, name, tmp_path / "split", None, tmp_path / name)
        assert np.array_equal(read_seen(tmp_path / name), log_rows)  # type: ignore[arg-type]


def test_answers_of_another_split_are_never_used_again(
    recipe: Recipe, tastes: Split, other: Split, tmp_path: Path
) -> None:
    samples = rewritten(recipe, tastes, None, tmp_path)
    write_split(tmp_path / "other", other)
    with pytest.raises(LlmAugError, match="another recipe"):
        pipeline.ask(recipe, "rewrite", tmp_path / "other", None, samples.parent)
    (samples.parent / "stage.json").unlink()  # nor where the mark is lost
    with pytest.raises(LlmAugError):
        pipeline.ask(recipe, "rewrite", tmp_path / "other", None, samples.parent)


@pytest.mark.slow
def test_fine_tuning_leaves_its_record_in_the_adapter(
    tastes: Split, tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    write_split(tmp_path / "split", tastes)
    tuned = {"tasks": ["history"], "max_steps": 1, "limit": 4, "per_device_train_batch_size": 2}
    recipe = recipe_of(model=str(model_folder("llama")), finetune=tuned, engine={"device": "cpu"}, encoder="hash:64")
    pipeline.finetune(recipe, tmp_path / "split", tmp_path / "adapter")
    assert np.array_equal(read_seen(tmp_path / "adapter"), hashes_of(tastes.training))  # type: ignore[arg-type]
