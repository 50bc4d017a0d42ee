from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from eval.arguments import read_arms
from eval.arms import AGAIN, FEWEST_PAIRS, REAL, Arm, again, read_arm
from llm_aug.data import Dataset, Origin, Pair, Sample, Split
from llm_aug.errors import InputError
from llm_aug.files import write_parquet
from llm_aug.seen import hashes_of, write_seen
from llm_aug.tables import samples_table
from recommender.matrix import to_log


def pair(user: str, item: str, split_hash: str = "", weight: float = 1.0) -> Sample:
    origin = Origin("test", split_hash=split_hash)
    return Sample(f"{user}/{item}", "interactions", item, None, (Pair(user, item),), weight, origin)


def write(path: Path, *samples: Sample) -> Path:
    write_parquet(path, samples_table(samples))
    return path


def foreign(path: Path, rows: pd.DataFrame) -> Path:
    write_parquet(path, pa.Table.from_pandas(rows[["user_id", "item_id"]], preserve_index=False))
    return path


def test_an_arm_of_this_split_is_read_from_its_folder(tastes: Split, tmp_path: Path) -> None:
    text = Sample("d", "description", "i1", "a red fruit")
    write(tmp_path / "kept.parquet", pair("u0", "i0", tastes.hash), pair("u1", "i1"), text)
    arm = read_arm("llm", tmp_path, tastes)
    assert (arm.name, arm.pairs(tastes), arm.texts) == ("llm", 2, 1)


def test_an_arm_made_from_another_split_is_refused(tastes: Split, tmp_path: Path) -> None:
    file = write(tmp_path / "kept.parquet", pair("u0", "i0", tastes.hash), pair("u1", "i1", "0123456789abcdef"))
    with pytest.raises(InputError, match=r"'llm'.* was made from split 0123456789abcdef, this one is"):
        read_arm("llm", file, tastes)


def test_an_unknown_item_is_refused_and_named(tastes: Split, tmp_path: Path) -> None:
    file = write(tmp_path / "kept.parquet", pair("u0", "i0"), pair("u1", "i999"))
    with pytest.raises(InputError, match="1 items that the split does not have: 'i999'"):
        read_arm("llm", file, tastes)


def test_a_synthetic_user_is_welcome(tastes: Split, tmp_path: Path) -> None:
    assert read_arm("llm", write(tmp_path / "kept.parquet", pair("nobody", "i0")), tastes).pairs(tastes) == 1


@pytest.mark.parametrize("name", [REAL, AGAIN])
def test_the_names_of_our_own_arms_are_taken(name: str, tastes: Split, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give .* another name"):
        read_arm(name, write(tmp_path / "kept.parquet", pair("u0", "i0")), tastes)


def test_planted_test_rows_in_a_foreign_file_are_refused(tastes: Split, tmp_path: Path) -> None:
    """A foreign file carries no split hash; its pairs give it away."""
    leak = pd.concat([tastes.test[:40], tastes.train[:30]])
    with pytest.raises(InputError, match=r"57% of the pairs in .* are validation or test rows"):
        read_arm("outside", foreign(tmp_path / "leak.parquet", leak), tastes)
    with pytest.raises(InputError, match="100% of the pairs"):
        read_arm("outside", foreign(tmp_path / "leak.parquet", tastes.validation), tastes)


def test_guessing_some_test_rows_is_the_point_and_no_leak(tastes: Split, tmp_path: Path) -> None:
    some = pd.concat([tastes.test[:20], tastes.train[:30]])
    assert read_arm("outside", foreign(tmp_path / "good.parquet", some), tastes).pairs(tastes) == 50
    few = tastes.test[: FEWEST_PAIRS - 1]
    assert read_arm("outside", foreign(tmp_path / "few.parquet", few), tastes).pairs(tastes) == len(few)


def test_merging_adds_weighted_synthetic_rows_and_keeps_the_split(tastes: Split) -> None:
    item, before = tastes.cold_items[0], tastes.train.copy()
    merged = Arm("llm", [pair("u0", item, weight=0.5)]).merged(tastes, weight=0.5)
    added = merged.interactions[merged.interactions["is_synthetic"]]
    assert added[["user_id", "item_id", "weight"]].to_numpy().tolist() == [["u0", item, 0.25]]
    assert len(merged.interactions) == len(before) + 1
    pd.testing.assert_frame_equal(tastes.train, before)


def test_the_real_arm_is_the_training_part_alone(tastes: Split) -> None:
    merged = Arm(REAL).merged(tastes)
    assert merged.interactions is tastes.train
    assert merged.items is tastes.items


def test_again_is_real_training_rows_and_nothing_else(tastes: Split) -> None:
    arm = again(tastes, 50)
    assert (arm.name, arm.pairs(tastes), arm.seed_shift) == (AGAIN, 50, 1000)
    trained = set(zip(tastes.train["user_id"], tastes.train["item_id"], strict=True))
    made = [(p.user_id, p.item_id) for sample in arm.samples for p in sample.interactions or ()]
    assert set(made) <= trained
    assert len(set(made)) == 50
    assert again(tastes, 10**6).pairs(tastes) == len(tastes.train)
    assert again(tastes, 50) == arm


def test_again_leaves_the_log_as_it_was(tastes: Split) -> None:
    """A pair counts once, with its largest weight: real rows once more are no news."""
    real = to_log(tastes.training).matrix
    for weight in (1.0, 0.5):
        assert np.array_equal(to_log(again(tastes, 100).merged(tastes, weight)).matrix.toarray(), real.toarray())


def test_an_arm_that_was_not_filtered_is_refused_with_the_way_to_mend_it(tastes: Split, tmp_path: Path) -> None:
    write(tmp_path / "samples.parquet", pair("ann", "i0"))
    with pytest.raises(InputError, match=r"holds no kept\.parquet; `llm-aug filter "):
        read_arm("llm", tmp_path, tastes)


def test_a_kept_folder_that_has_seen_a_test_pair_is_refused(tastes: Split, tmp_path: Path) -> None:
    """One row among the honest ones is enough, and the arm's other folder does not hide it."""
    write(tmp_path / "kept.parquet", pair("u0", "i0", tastes.hash))
    write_seen(tmp_path, hashes_of(tastes.training))
    assert read_arm("llm", tmp_path, tastes).samples
    row = tastes.test.iloc[[0]]
    write_seen(tmp_path, hashes_of(Dataset(tastes.items, row)))
    user, item = row["user_id"].iloc[0], row["item_id"].iloc[0]
    says = rf"'llm': by .*seen\.parquet it was made from 1 of the \d+ rows .* example user '{user}' with item '{item}'"
    with pytest.raises(InputError, match=says):
        read_arm("llm", tmp_path, tastes)
    other = tmp_path / "other"
    write(other / "kept.parquet", pair("u1", "i1", tastes.hash))
    with pytest.raises(InputError, match=says):
        read_arms({"llm": [other, tmp_path]}, tastes)
