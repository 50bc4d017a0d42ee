"""Every way in which a simulation may stop, and how it goes on: by the same rows, and without asking twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from planted import GenreJudge, training
from test_simulate import OPTIONS, found, pairs, run

from llm_aug import simulate as simulate_module
from llm_aug.backends import Scores
from llm_aug.data import Prompt
from llm_aug.errors import InputError, LlmAugError, ResumeRefused, ShortOfTarget
from llm_aug.files import read_json, read_parquet
from llm_aug.signals import Interrupted
from llm_aug.simulate import halves, simulate
from llm_aug.tasks.judge import Judge


def test_interrupted_it_goes_on_where_it_was(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    with pytest.raises(Interrupted, match=r"stopped by SIGINT, judge: pseudo: 256/\d+ done; run the same command"):
        run(tmp_path / "cut", llm=GenreJudge(interrupt_after=200))
    assert read_json(tmp_path / "cut/progress.json")["done"] == 256
    assert not (tmp_path / "cut/samples.parquet").exists()
    rest = GenreJudge()
    result = run(tmp_path / "cut", llm=rest)
    total = len(halves(found().pseudo, OPTIONS.seed)[1]) + len(found().cold)
    assert (result.reused, len(rest.asked)) == (256, total - 256)
    for name in ("samples.parquet", "rejects.parquet", "metrics.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert not (tmp_path / "cut/progress.json").exists()
    again = GenreJudge()
    assert run(tmp_path / "cut", llm=again).reused == total
    assert again.calls == 0


def test_the_size_of_a_chunk_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path / "a", chunk=64)
    run(tmp_path / "b", chunk=7, shard_seconds=0.0)
    assert (tmp_path / "a/samples.parquet").read_bytes() == (tmp_path / "b/samples.parquet").read_bytes()


@dataclass
class Sized(GenreJudge):
    """sizes: pairs of each call."""

    sizes: list[int] = field(default_factory=list)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        self.sizes.append(len(prompts))
        return super().score(prompts, continuations)


def test_quick_calls_grow_and_slow_ones_shrink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Sized()
    run(tmp_path / "quick", llm=quick, chunk=100)
    assert quick.sizes[:2] == [64, 100]
    monkeypatch.setattr(simulate_module, "CALL_SECONDS", 0.0)
    slow = Sized()
    run(tmp_path / "slow", llm=slow, chunk=100)
    assert slow.sizes[:3] == [64, 32, 16]
    assert sum(slow.sizes) == sum(quick.sizes)
    assert (tmp_path / "slow/samples.parquet").read_bytes() == (tmp_path / "quick/samples.parquet").read_bytes()


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
import test_simulate as t

class Slow(t.GenreJudge):
    def score(self, prompts, continuations):
        time.sleep(0.05)
        return super().score(prompts, continuations)

t.run(Path(sys.argv[1]), llm=Slow(), chunk=8, shard_seconds=0.0)
"""


def test_killed_outright_it_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    here = Path(__file__).resolve().parent
    code = KILLED.format(tests=str(here), root=str(here.parent))
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
    answers = tmp_path / "killed" / "answers"
    deadline = time.monotonic() + 60
    while len(list(answers.glob("0*.parquet"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    there = sum(read_parquet(path).num_rows for path in answers.glob("0*.parquet"))
    rest = GenreJudge()
    result = run(tmp_path / "killed", llm=rest)
    assert result.reused == there >= 40
    run(tmp_path / "whole")
    assert (tmp_path / "killed/samples.parquet").read_bytes() == (tmp_path / "whole/samples.parquet").read_bytes()


@pytest.mark.parametrize(
    ("name", "llm", "changes"),
    [
        ("revision", GenreJudge(revision="2"), {}),
        ("adapter", GenreJudge(adapter="tuned"), {}),
        ("seed", GenreJudge(), {"seed": 2}),
        ("split_hash", GenreJudge(), {"split_hash": "other"}),
        ("history", GenreJudge(), {"judge": Judge(history=3)}),
        ("calibration_pairs", GenreJudge(), {"calibration_pairs": 60}),
    ],
)
def test_another_recipe_is_refused(tmp_path: Path, name: str, llm: GenreJudge, changes: dict[str, object]) -> None:
    run(tmp_path)
    with pytest.raises(ResumeRefused, match=f"another recipe .*{name} was"):
        run(tmp_path, llm=llm, **changes)
    assert llm.calls == 0


def test_other_candidates_and_another_generator_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    swapped = found().cold.assign(preference=found().cold["preference"].to_numpy()[::-1])
    with pytest.raises(ResumeRefused, match="candidates was"):
        simulate("llm", replace(found(), cold=swapped), training(), tmp_path, OPTIONS, GenreJudge())
    with pytest.raises(ResumeRefused, match="generator was 'llm', is 'funnel'"):
        run(tmp_path, "funnel")


def test_what_got_no_score_fails_and_is_asked_again(tmp_path: Path) -> None:
    silent = GenreJudge(silent_on=" 9. ")  # "flour oven 9. space" is i09
    result = run(tmp_path, llm=silent)
    lost = int((found().cold["item_id"] == "i09").sum())
    assert lost > 0
    assert result.failed == lost
    assert result.asked == result.parsed + result.rejected + result.failed
    assert "i09" not in set(pairs(tmp_path)["item_id"])
    mended = GenreJudge()
    again = run(tmp_path, llm=mended)
    assert (again.failed, len(mended.asked)) == (0, lost)
    assert all(" 9. " in text.partition("New: ")[2] for text in mended.asked)
    run(tmp_path / "whole")
    assert (tmp_path / "samples.parquet").read_bytes() == (tmp_path / "whole/samples.parquet").read_bytes()


def test_a_judge_without_scores_stops_early(tmp_path: Path) -> None:
    broken = GenreJudge(kind="broken")
    with pytest.raises(ShortOfTarget, match=r"64 of 64 prompts have no score .*too long for the model"):
        run(tmp_path, llm=broken)
    assert len(broken.asked) == 64
    assert run(tmp_path).failed == 0


def test_a_few_candidates_without_scores_are_short_of_target(tmp_path: Path) -> None:
    few = replace(found(), cold=found().cold.head(5), pseudo=found().pseudo.head(30))
    with pytest.raises(ShortOfTarget, match="none of 5 candidates became a pair, 5 have no score"):
        simulate("llm", few, training(), tmp_path, OPTIONS, GenreJudge(kind="broken"))
    assert read_json(tmp_path / "manifest.json")["counts"]["failed"] == 5
    assert read_json(tmp_path / "metrics.json") == {"auc_in_pseudo_cold_lists": {}}


def test_a_model_that_loses_a_row_is_a_bug(tmp_path: Path) -> None:
    class Losing(GenreJudge):
        def score(self, prompts: Sequence[object], continuations: Sequence[str]) -> Scores:
            return Scores(np.zeros((len(prompts) - 1, 2)), np.ones(2, dtype=np.int64))

    with pytest.raises(LlmAugError, match=r"gave scores of shape \(63, 2\) to 64 prompts"):
        run(tmp_path, llm=Losing())


def test_an_unknown_generator_names_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no generator 'funel'; did you mean 'funnel'"):
        run(tmp_path, "funel")
