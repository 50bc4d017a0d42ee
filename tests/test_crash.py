"""kill -9 wherever the bench draws it: the same command again ends with the rows of an undisturbed run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from eval.bench.crash import STAGES, Bench, draw, measure
from eval.bench.crash_child import SAVE_STEPS, Watch


def test_three_kills_over_generate_and_filter(tmp_path: Path) -> None:
    found = measure(3, 2, ("generate", "filter"), tmp_path)
    assert len(found) == 3
    assert {point.stage for point in found} == {"generate", "filter"}
    assert [point for point in found if not point.good] == []
    assert any(point.before for point in found)


def test_points_reach_every_stage_and_none_is_drawn_twice() -> None:
    events = {stage: [f"open {n}" for n in range(size)] for stage, size in zip(STAGES, (39, 24, 19, 50), strict=True)}
    drawn = draw(events, 20, seed=0)
    assert len(drawn) == len(set(drawn)) == 20
    assert all(sum(stage == one for one, _, _ in drawn) >= 3 for stage in STAGES)
    assert all(1 <= event <= len(events[stage]) for stage, event, _ in drawn)
    assert draw(events, 20, seed=0) == drawn != draw(events, 20, seed=1)


def test_a_bench_notices_other_rows(tmp_path: Path) -> None:
    """That everything is equal would say nothing, were the comparison blind."""
    bench = Bench(tmp_path, ("generate",))
    bench.rows["generate"] = {**bench.rows["generate"], "samples.parquet": "of another run"}
    assert not bench.kill("generate", 2, torn=False).good


def test_a_watch_counts_what_is_done_to_its_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda process, number: killed.append(number))
    watch = Watch(f"{tmp_path}/", at=3, torn=True)
    (tmp_path / "a").write_bytes(b"12345678")
    writes = os.O_WRONLY | os.O_CREAT
    watch("open", (str(tmp_path / "a"), "r", os.O_RDONLY))
    watch("open", ("/elsewhere/a", "w", writes))
    watch("open", (7, "w", writes))
    watch("os.remove", ("state.safetensors", 5))
    assert watch.seen == []
    watch("open", (str(tmp_path / "a"), "w", writes))
    watch("shutil.rmtree", (str(tmp_path / "gone"), -1))
    watch("os.rename", (str(tmp_path / "a"), str(tmp_path / "b"), -1, -1))
    watch("os.remove", ("state.safetensors", 5))  # relative to a folder that is being removed
    assert watch.seen == ["open a", "shutil.rmtree gone", "os.rename a", "os.remove state.safetensors"]
    assert killed == [signal.SIGKILL]
    assert (tmp_path / "a").read_bytes() == b"1234"


@pytest.mark.slow
def test_twenty_kills_over_all_stages(tmp_path: Path) -> None:
    found = measure(20, 0, STAGES, tmp_path)
    assert len(found) == 20
    assert [point for point in found if not point.good] == []
    assert all(sum(point.stage == stage for point in found) >= 3 for stage in STAGES)
    assert all(point.before - point.kept <= SAVE_STEPS for point in found if point.stage == "finetune")
