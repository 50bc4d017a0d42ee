"""A small model that counts its calls, a catalogue of six fruits, and every way in which a run may end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from llm_aug.answers import Answers
from llm_aug.data import Completion, Dataset, Prompt, Sampling, samples_from, tidy_interactions, tidy_items
from llm_aug.errors import LlmAugError, ResumeRefused, ShortOfTarget
from llm_aug.files import read_json, read_parquet
from llm_aug.generate import GenerateOptions, GenerateResult, generate
from llm_aug.tasks.rewrite import Rewrite

FRUITS = ["apple", "pear", "plum", "quince", "cherry", "fig"]
OPTIONS = GenerateOptions(sampling=Sampling(max_tokens=8), batch_size=2, shard_rows=2)
TASK = Rewrite(style="describe", copies=2)


@dataclass
class Counting:
    """Says the fruit's name and its seed; `script` maps a fruit to another answer. asked: the fruits, in order."""

    name: str = "counting"
    revision: str = "1"
    adapter: str = ""
    script: dict[str, Completion] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    interrupt_after: int = 10**9

    def complete(self, prompts: list[Prompt], sampling: Sampling, seeds: list[int]) -> Iterator[tuple[int, Completion]]:
        if len(self.asked) >= self.interrupt_after:
            raise KeyboardInterrupt
        fruits = [prompt.user.removeprefix("Title: ") for prompt in prompts]
        self.asked += fruits
        said = [Completion(f"One ripe {f}, number {s}.", "stop", 5) for f, s in zip(fruits, seeds, strict=True)]
        yield from enumerate(self.script.get(fruit, answer) for fruit, answer in zip(fruits, said, strict=True))

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
    assert json.loads(origin.sampling) == {"temperature": 0.8, "top_p": 0.95, "max_tokens": 8}
    assert origin.prompt_hash == TASK.prompt_hash
    assert str(origin.seed) in str(sample.text)


def test_the_same_recipe_again_calls_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, Counting())
    before = texts(tmp_path)
    again = Counting()
    result = run(tmp_path, again, replace(OPTIONS, batch_size=5, shard_rows=1))
    assert again.asked == []
    assert result.reused == 12
    assert texts(tmp_path) == before
    assert "12/12 done, 0 to do" in capsys.readouterr().err


def test_a_row_does_not_depend_on_its_batch_or_on_how_many_are_asked(tmp_path: Path) -> None:
    run(tmp_path / "one", Counting(), replace(OPTIONS, batch_size=1))
    run(tmp_path / "all", Counting(), replace(OPTIONS, batch_size=12))
    run(tmp_path / "few", Counting(), task=replace(TASK, limit=2))
    assert texts(tmp_path / "one") == texts(tmp_path / "all")
    assert texts(tmp_path / "few").items() <= texts(tmp_path / "all").items()
    assert len(set(texts(tmp_path / "all").values())) == 12


def test_a_larger_run_goes_on_from_a_smaller_one(tmp_path: Path) -> None:
    run(tmp_path, Counting(), task=replace(TASK, limit=2))
    more = Counting()
    result = run(tmp_path, more)
    assert (result.reused, len(more.asked), result.parsed) == (4, 8, 12)


def test_interrupted_it_keeps_what_was_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = replace(OPTIONS, shard_rows=1000)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Counting(interrupt_after=6), options)
    assert read_json(tmp_path / "manifest.json")["state"] == "running"
    rest = Counting()
    assert run(tmp_path, rest, options).parsed == 12
    assert len(rest.asked) == 6
    assert "6/12 done, 6 to do" in capsys.readouterr().err


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
import test_generate as t

class Slow(t.Counting):
    def complete(self, prompts, sampling, seeds):
        time.sleep(0.05)
        return super().complete(prompts, sampling, seeds)

t.run(Path(sys.argv[1]), Slow(), task=t.replace(t.TASK, copies=40))
"""


def test_killed_outright_it_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    task = replace(TASK, copies=40)
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
    rest = Counting()
    result = run(tmp_path / "killed", rest, task=task)
    assert 10 <= there < 240
    assert (result.reused, len(rest.asked)) == (there, 240 - there)
    run(tmp_path / "whole", Counting(), task=task)
    assert texts(tmp_path / "killed") == texts(tmp_path / "whole")


@pytest.mark.parametrize(
    ("name", "llm", "options"),
    [
        ("revision", Counting(revision="2"), OPTIONS),
        ("adapter", Counting(adapter="tuned"), OPTIONS),
        ("sampling", Counting(), replace(OPTIONS, sampling=Sampling(temperature=0.1))),
        ("seed", Counting(), replace(OPTIONS, seed=1)),
        ("split_hash", Counting(), replace(OPTIONS, split_hash="other")),
    ],
)
def test_another_recipe_is_refused_by_name(tmp_path: Path, name: str, llm: Counting, options: GenerateOptions) -> None:
    run(tmp_path, Counting())
    with pytest.raises(ResumeRefused, match=f"another recipe .*{name} was"):
        run(tmp_path, llm, options)
    assert llm.asked == []


def test_another_catalogue_is_refused(tmp_path: Path) -> None:
    run(tmp_path, Counting())
    with pytest.raises(ResumeRefused, match="input was"):
        generate(TASK, catalogue([*FRUITS[:-1], "date"]), Counting(), OPTIONS, tmp_path)


def test_a_shard_of_another_recipe_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "a", Counting())
    run(tmp_path / "b", Counting(), replace(OPTIONS, seed=1))
    (tmp_path / "b/answers/000000.parquet").replace(tmp_path / "a/answers/000099.parquet")
    with pytest.raises(ResumeRefused, match=r"000099.parquet belongs to another recipe"):
        run(tmp_path / "a", Counting())


def test_answers_without_a_manifest_are_refused(tmp_path: Path) -> None:
    run(tmp_path, Counting())
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(ResumeRefused, match=r"no manifest.json"):
        run(tmp_path, Counting())


def test_a_second_run_in_the_same_folder_stops(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(ResumeRefused, match="another run is writing"):
        run(tmp_path, Counting())


@pytest.mark.parametrize("damage", ["flipped", "truncated", "emptied"])
def test_a_damaged_shard_is_named_and_asked_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, Counting())
    before = texts(tmp_path)
    shard = tmp_path / "answers" / "000002.parquet"
    content = bytearray(shard.read_bytes())
    column = pq.ParquetFile(shard).metadata.row_group(0).column(2)
    content[(column.dictionary_page_offset + column.data_page_offset) // 2] ^= 1  # amid the texts
    shard.write_bytes({"flipped": bytes(content), "truncated": bytes(content[:-50]), "emptied": b""}[damage])
    again = Counting()
    assert run(tmp_path, again).reused == 10
    assert len(again.asked) == 2
    assert texts(tmp_path) == before
    assert (tmp_path / "answers" / "000002.parquet.bad").exists()
    assert "000002.parquet.bad, its rows are asked again" in capsys.readouterr().err
    once_more = Counting()
    run(tmp_path, once_more)
    assert once_more.asked == []


def test_no_flipped_bit_in_a_shard_is_ever_read_as_data(tmp_path: Path) -> None:
    written = Answers(tmp_path, "mark")
    written.add("k", Prompt("", "?"), Completion("An apple.", "stop", 3))
    written.write()
    shard = tmp_path / "000000.parquet"
    content = shard.read_bytes()
    for position in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        shard.write_bytes(bytes(flipped))
        read = Answers(tmp_path, "mark")
        read.read()
        assert read.rows in ({}, written.rows)


def test_failed_rows_stay_failed_and_are_asked_again_later(tmp_path: Path) -> None:
    broken = Counting(script={"plum": Completion("timeout", "error", 0)})
    result = run(tmp_path, broken)
    assert (result.parsed, result.rejected, result.failed) == (10, 0, 2)
    assert result.reasons == {"failed: timeout": 2}
    assert broken.asked.count("plum") == 4
    mended = Counting()
    assert run(tmp_path, mended).parsed == 12
    assert mended.asked == ["plum", "plum"]


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
def test_a_row_of_bad_answers_stops_the_run(tmp_path: Path, answer: Completion, reason: str) -> None:
    llm = Counting(script=dict.fromkeys(FRUITS, answer))
    task = replace(TASK, copies=40)
    with pytest.raises(ShortOfTarget, match=f"50 of the last 50 answers were bad .{reason}: 50"):
        run(tmp_path, llm, task=task)
    assert len(llm.asked) == 50
    manifest = read_json(tmp_path / "manifest.json")
    assert (manifest["state"], manifest["counts"]["asked"], manifest["counts"]["parsed"]) == ("stopped", 50, 0)


def test_a_model_that_loses_an_answer_is_a_bug(tmp_path: Path) -> None:
    class Losing(Counting):
        def complete(
            self, prompts: list[Prompt], sampling: Sampling, seeds: list[int]
        ) -> Iterator[tuple[int, Completion]]:
            return islice(super().complete(prompts, sampling, seeds), 1, None)

    with pytest.raises(LlmAugError, match="gave 1 answers to 2 prompts"):
        run(tmp_path, Losing())


def test_an_empty_catalogue_is_short_of_target(tmp_path: Path) -> None:
    with pytest.raises(ShortOfTarget, match="none of 0 requests"):
        generate(TASK, catalogue([]), Counting(), OPTIONS, tmp_path)


def test_odd_answers_reach_the_disk(tmp_path: Path) -> None:
    script = {"fig": Completion("A lone \ud800 surrogate {braces} \x00 and more.", "stop", 9)}
    assert run(tmp_path, Counting(script=script)).parsed == 12
    assert "A lone ? surrogate {braces} and more." in texts(tmp_path).values()
