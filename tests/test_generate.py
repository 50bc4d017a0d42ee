"""A small model that counts its calls, a catalogue of six fruits, and what becomes of every answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from llm_aug import results
from llm_aug.data import Completion, Dataset, Prompt, Sampling, tidy_interactions, tidy_items
from llm_aug.errors import LlmAugError, ShortOfTarget
from llm_aug.files import read_json, read_parquet
from llm_aug.generate import GenerateOptions, GenerateResult, generate
from llm_aug.tables import samples_from
from llm_aug.tasks.rewrite import Rewrite

FRUITS = ["apple", "pear", "plum", "quince", "cherry", "fig"]
OPTIONS = GenerateOptions(sampling=Sampling(max_tokens=8), shard_rows=2)
TASK = Rewrite(style="describe", copies=2)
MANY = replace(TASK, copies=40)
TIMEOUT = Completion("timeout", "error", 0)


@dataclass
class Counting:
    """Says the fruit's name and its seed; `script` maps a fruit to another answer. asked: the fruits, as they end.

    calls: rows of each call. backwards: the last row ends first.
    """

    name: str = "counting"
    revision: str = "1"
    adapter: str = ""
    script: dict[str, Completion] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    interrupt_after: int = 10**9
    backwards: bool = False

    def complete(self, prompts: list[Prompt], sampling: Sampling, seeds: list[int]) -> Iterator[tuple[int, Completion]]:
        self.calls.append(len(prompts))
        rows = range(len(prompts))
        for row in reversed(rows) if self.backwards else rows:
            if len(self.asked) >= self.interrupt_after:
                raise KeyboardInterrupt
            fruit = prompts[row].user.removeprefix("Title: ")
            self.asked.append(fruit)
            said = Completion(f"One ripe {fruit}, number {seeds[row]}.", "stop", 5)
            yield row, self.script.get(fruit, said)

    def score(self, prompts: list[Prompt], continuations: list[str]) -> np.ndarray:
        raise NotImplementedError


def catalogue(fruits: list[str] = FRUITS) -> Dataset:
    items = tidy_items(pd.DataFrame({"item_id": [f"i{row}" for row in range(len(fruits))], "title": fruits}))
    return Dataset(items, tidy_interactions(pd.DataFrame({"user_id": [], "item_id": []})))


def run(folder: Path, llm: Counting, options: GenerateOptions = OPTIONS, task: Rewrite = TASK) -> GenerateResult:
    return generate(task, catalogue(), llm, options, folder)


def texts(folder: Path) -> dict[str, str | None]:
    return {sample.sample_id: sample.text for sample in samples_from(read_parquet(folder / "samples.parquet"))}


def test_every_request_becomes_a_stamped_sample(tmp_path: Path) -> None:
    result = run(tmp_path, Counting(adapter="a1"), replace(OPTIONS, split_hash="s1", seed=7))
    assert (result.asked, result.parsed, result.rejected, result.failed) == (12, 12, 0, 0)
    sample = samples_from(read_parquet(tmp_path / "samples.parquet"))[0]
    assert sample.sample_id == f"rewrite/describe/{sample.subject}/0"
    origin = sample.origin
    assert (origin.generator, origin.parents) == ("rewrite/describe", (sample.subject,))
    assert (origin.model, origin.revision, origin.adapter, origin.split_hash) == ("counting", "1", "a1", "s1")
    assert json.loads(origin.sampling) == asdict(OPTIONS.sampling)
    assert origin.prompt_hash == TASK.prompt_hash
    assert str(origin.seed) in str(sample.text)


def test_a_row_does_not_depend_on_its_call_or_on_its_turn(tmp_path: Path) -> None:
    run(tmp_path / "one", Counting(), replace(OPTIONS, chunk=1))
    run(tmp_path / "all", Counting(backwards=True))
    run(tmp_path / "few", Counting(), task=replace(TASK, limit=2))
    assert (tmp_path / "one/samples.parquet").read_bytes() == (tmp_path / "all/samples.parquet").read_bytes()
    assert texts(tmp_path / "few").items() <= texts(tmp_path / "all").items()
    assert len(set(texts(tmp_path / "all").values())) == 12


def test_a_model_is_handed_many_requests_at_once_after_a_first_few(tmp_path: Path) -> None:
    llm = Counting()
    run(tmp_path, llm, replace(OPTIONS, chunk=100), MANY)
    assert llm.calls == [50, 100, 90]


def test_samples_are_written_by_groups_in_the_order_of_the_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "GROUP_ROWS", 5)
    run(tmp_path, Counting(backwards=True))
    assert pq.read_metadata(tmp_path / "samples.parquet").num_row_groups == 3
    asked = [f"{entry.key}" for entry in TASK.requests(catalogue())]  # type: ignore[union-attr]
    assert list(texts(tmp_path)) == asked


def test_failed_rows_stay_failed_and_are_asked_again_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Counting(script={"plum": TIMEOUT})
    result = run(tmp_path, broken)
    assert (result.parsed, result.rejected, result.failed) == (10, 0, 2)
    assert result.reasons == {"failed: timeout": 2}
    assert broken.asked.count("plum") == 4
    told = "2 requests failed, at most 2 times each, and stay failed (failed: timeout: 2)"
    assert told in capsys.readouterr().err
    mended = Counting()
    assert run(tmp_path, mended).parsed == 12
    assert mended.asked == ["plum", "plum"]


def test_a_row_that_fails_once_is_asked_again_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Stumbling(Counting):
        def complete(
            self, prompts: list[Prompt], sampling: Sampling, seeds: list[int]
        ) -> Iterator[tuple[int, Completion]]:
            for row, said in super().complete(prompts, sampling, seeds):
                yield row, TIMEOUT if len(self.calls) == 1 and row % 5 == 0 else said

    llm = Stumbling()
    assert (run(tmp_path, llm).parsed, llm.calls) == (12, [12, 3])
    assert "stay failed" not in capsys.readouterr().err


def test_rejects_are_final_and_keep_the_answer(tmp_path: Path) -> None:
    result = run(tmp_path, Counting(script={"fig": Completion("An unfinished", "length", 8)}))
    assert (result.asked, result.parsed, result.rejected, result.failed) == (12, 10, 2, 0)
    rejects = read_parquet(tmp_path / "rejects.parquet").to_pylist()
    assert rejects == [{"subject": "i5", "stage": "generate", "reason": "truncated", "answer": "An unfinished"}] * 2
    again = Counting()
    run(tmp_path, again)
    assert again.asked == []


def test_what_cannot_be_asked_is_counted_too(tmp_path: Path) -> None:
    task = Rewrite(style="paraphrase")
    with pytest.raises(ShortOfTarget, match=r"none of 6 requests .*no_description: 6"):
        generate(task, catalogue(), Counting(), OPTIONS, tmp_path)
    assert read_json(tmp_path / "manifest.json")["counts"]["rejected"] == 6


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Completion("connection refused", "error", 0), "failed: connection refused"),
        (Completion("", "stop", 0), "empty"),
    ],
)
@pytest.mark.parametrize("chunk", [7, 4096])
def test_a_row_of_bad_answers_stops_the_run(tmp_path: Path, answer: Completion, reason: str, chunk: int) -> None:
    llm = Counting(script=dict.fromkeys(FRUITS, answer))
    with pytest.raises(ShortOfTarget, match=f"50 of the last 50 answers were bad .{reason}: 50"):
        run(tmp_path, llm, replace(OPTIONS, chunk=chunk), MANY)
    assert len(llm.asked) == 50
    manifest = read_json(tmp_path / "manifest.json")
    assert (manifest["state"], manifest["counts"]["asked"], manifest["counts"]["parsed"]) == ("stopped", 50, 0)


def test_an_engine_that_goes_down_stops_the_run(tmp_path: Path) -> None:
    class Dying(Counting):
        def complete(
            self, prompts: list[Prompt], sampling: Sampling, seeds: list[int]
        ) -> Iterator[tuple[int, Completion]]:
            for row, said in super().complete(prompts, sampling, seeds):
                yield row, said if len(self.asked) <= 300 else TIMEOUT

    llm = Dying()
    with pytest.raises(ShortOfTarget, match="of the last 150 answers were bad"):
        run(tmp_path, llm, task=replace(TASK, copies=200))
    assert 300 < len(llm.asked) <= 450


def test_long_prompts_that_fail_first_do_not_stop_a_good_run(tmp_path: Path) -> None:
    """An engine takes the longest prompts of a call first; here a tenth of them are too long."""

    class LongestFirst(Counting):
        def complete(
            self, prompts: list[Prompt], sampling: Sampling, seeds: list[int]
        ) -> Iterator[tuple[int, Completion]]:
            def long(row: int) -> bool:
                return seeds[row] % 10 == 0

            found = dict(super().complete(prompts, sampling, seeds))
            for row in sorted(found, key=long, reverse=True):
                yield row, Completion("too long", "error", 0) if long(row) else found[row]

    result = run(tmp_path, LongestFirst(), replace(OPTIONS, attempts=1), replace(TASK, copies=200))
    assert 90 <= result.failed <= 150  # the window of the breaker is 150
    assert result.parsed == 1200 - result.failed


def test_a_second_round_of_failures_alone_does_not_stop_the_run(tmp_path: Path) -> None:
    class Failing(Counting):
        def complete(
            self, prompts: list[Prompt], sampling: Sampling, seeds: list[int]
        ) -> Iterator[tuple[int, Completion]]:
            for row, said in super().complete(prompts, sampling, seeds):
                yield row, TIMEOUT if seeds[row] % 6 == 0 else said

    llm = Failing()
    result = run(tmp_path, llm, task=replace(TASK, copies=100))
    assert result.parsed + result.failed == 600
    assert result.failed > llm.calls[-1] == 50  # all of them bad: the others are not even asked again
    assert len(llm.calls) == 3
    assert read_json(tmp_path / "manifest.json")["state"] == "done"


@pytest.mark.parametrize(
    ("rows", "words", "stays"),
    [
        ([0, 1, 2], r"no answer to 9 of 12 prompts, the first is row 3 \(rewrite/describe/", 3),
        ([0, 1, 1, 2], r"answered row 1 of 12 prompts twice \(rewrite/describe/", 2),
        ([0, 12], "answered row 12 of 12 prompts that was not asked", 1),
        ([0, -1], "answered row -1 of 12 prompts that was not asked", 1),
    ],
)
def test_a_model_that_loses_or_invents_a_row_is_a_bug(tmp_path: Path, rows: list[int], words: str, stays: int) -> None:
    class Confused(Counting):
        def complete(
            self, prompts: list[Prompt], sampling: Sampling, seeds: list[int]
        ) -> Iterator[tuple[int, Completion]]:
            found = dict(super().complete(prompts, sampling, seeds))
            yield from ((row, found.get(row, found[0])) for row in rows)

    with pytest.raises(LlmAugError, match=words):
        run(tmp_path, Confused())
    mended = Counting()
    assert run(tmp_path, mended).reused == stays
    assert len(mended.asked) == 12 - stays


def test_an_empty_catalogue_is_short_of_target(tmp_path: Path) -> None:
    with pytest.raises(ShortOfTarget, match="none of 0 requests"):
        generate(TASK, catalogue([]), Counting(), OPTIONS, tmp_path)


def test_odd_answers_reach_the_disk(tmp_path: Path) -> None:
    script = {"fig": Completion("A lone \ud800 surrogate {braces} \x00 and more.", "stop", 9)}
    assert run(tmp_path, Counting(script=script)).parsed == 12
    assert "A lone ? surrogate {braces} and more." in texts(tmp_path).values()
