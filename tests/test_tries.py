"""Requests whose answers are rejected, asked again with another seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from test_generate import FRUITS, OPTIONS, TIMEOUT, Counting, run, texts
from test_stored_filter import split

from llm_aug.config import recipe_of
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.errors import ShortOfTarget
from llm_aug.files import read_json, read_parquet
from llm_aug.generate import GenerateOptions
from llm_aug.generators import ask
from llm_aug.signals import Interrupted
from llm_aug.tables import samples_from

FILES = ("samples.parquet", "rejects.parquet")


class Fussy(Counting):
    """Has nothing to say at two seeds in three."""

    def complete(self, prompts: list[Prompt], sampling: Sampling, seeds: list[int]):  # type: ignore[no-untyped-def]
        for row, said in super().complete(prompts, sampling, seeds):
            yield row, said if seeds[row] % 3 == 0 or said.finish == "error" else Completion("", "stop", 1)


@dataclass
class Moody(Fussy):
    """Times out at one question in so many. seeds: of all that it was asked."""

    every: int = 2
    seeds: list[int] = field(default_factory=list)

    def complete(self, prompts: list[Prompt], sampling: Sampling, seeds: list[int]):  # type: ignore[no-untyped-def]
        for row, said in super().complete(prompts, sampling, seeds):
            self.seeds.append(seeds[row])
            yield row, TIMEOUT if len(self.seeds) % self.every == 0 else said


def tried(tries: int) -> GenerateOptions:
    return replace(OPTIONS, tries=tries, stop_share=1.1)


def test_the_first_answer_that_is_not_rejected_counts(tmp_path: Path) -> None:
    once, twice, often = (run(tmp_path / str(tries), Fussy(), tried(tries)) for tries in (1, 2, 30))
    assert (once.again, once.parsed + once.rejected) == (0, 12)
    assert once.parsed < twice.parsed < often.parsed == 12
    assert twice.again == once.rejected
    first, last = texts(tmp_path / "1"), texts(tmp_path / "30")
    assert {key: last[key] for key in first} == first
    assert len(read_parquet(tmp_path / "2" / "rejects.parquet")) == twice.rejected


def test_a_sample_has_the_seed_of_the_answer_it_is(tmp_path: Path) -> None:
    run(tmp_path, Fussy(), tried(30))
    for sample in samples_from(read_parquet(tmp_path / "samples.parquet")):
        assert f"number {sample.origin.seed}." in (sample.text or "")


@pytest.mark.parametrize("after", [5, 14, 20])
def test_stopped_at_any_try_it_goes_on_to_the_same_rows(tmp_path: Path, after: int) -> None:
    whole = Fussy()
    expected = run(tmp_path / "whole", whole, tried(5))
    cut = Fussy(interrupt_after=after)
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", cut, tried(5))
    rest = Fussy()
    result = run(tmp_path / "cut", rest, tried(5))
    assert len(cut.asked) + len(rest.asked) == len(whole.asked)
    assert replace(result, reused=0) == expected
    for name in FILES:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_more_tries_go_on_from_fewer_and_fewer_give_the_same_as_before(tmp_path: Path) -> None:
    first, whole = Fussy(), Fussy()
    few = run(tmp_path / "grown", first, tried(2))
    run(tmp_path / "whole", whole, tried(30))
    before = [(tmp_path / "grown" / name).read_bytes() for name in FILES]
    more = Fussy()
    assert run(tmp_path / "grown", more, tried(30)).parsed == 12
    assert len(first.asked) + len(more.asked) == len(whole.asked)
    for name in FILES:
        assert (tmp_path / "grown" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    back = Fussy()
    assert run(tmp_path / "grown", back, tried(2)).again == few.again
    assert back.asked == []
    assert [(tmp_path / "grown" / name).read_bytes() for name in FILES] == before


def test_failed_at_a_later_try_it_is_failed_and_asked_again_by_the_next_run(tmp_path: Path) -> None:
    first = Fussy()
    run(tmp_path, first, tried(1))
    rejected = set(FRUITS) - {text.split()[2].rstrip(",") for text in texts(tmp_path).values() if text}
    assert rejected
    fruit = min(rejected)
    broken = run(tmp_path, Fussy(script={fruit: TIMEOUT}), tried(2))
    assert (broken.failed, broken.asked) == (2, 12)
    mended = run(tmp_path, Fussy(), tried(2))
    assert mended.failed == 0
    assert replace(mended, reused=0) == run(tmp_path / "whole", Fussy(), tried(2))


@pytest.mark.parametrize("moody", [2, 3, 5])
def test_failures_and_rejects_side_by_side_are_asked_as_often_as_said(tmp_path: Path, moody: int) -> None:
    """The model times out at every so many calls: what a run left undone the next one does, by the same rows."""
    llm = Moody(every=moody)
    first = run(tmp_path / "moody", llm, tried(4))
    assert max(Counter(llm.seeds).values()) <= OPTIONS.attempts
    run(tmp_path / "moody", Fussy(), tried(4))
    last = run(tmp_path / "moody", Fussy(), tried(4))
    assert first.asked == last.asked == 12
    assert replace(last, reused=0) == run(tmp_path / "whole", Fussy(), tried(4))
    for name in FILES:
        assert (tmp_path / "moody" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_model_that_fails_at_later_tries_stops_the_run(tmp_path: Path) -> None:
    options = replace(tried(3), window=4, stop_share=0.9)
    run(tmp_path, Fussy(), tried(1))
    with pytest.raises(ShortOfTarget, match="4 of the last 4 answers were bad"):
        run(tmp_path, Fussy(script=dict.fromkeys(FRUITS, TIMEOUT)), options)
    assert read_json(tmp_path / "manifest.json")["state"] == "stopped"


def test_another_number_of_tries_is_more_work_and_no_other_recipe(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(
        '{"rules": [{"pattern": "(?i)pear", "answer": ""}, {"pattern": ".", "answer": "A soft green fruit."}]}'
    )
    counts = []
    for tries in (1, 3):
        recipe = recipe_of(model=f"scripted:{script}", rewrite={"tries": tries})
        counts.append(ask(recipe, "rewrite", split(tmp_path / "split"), None, tmp_path / "made").counts)
    assert [found["again"] for found in counts] == [0, 2]
    assert counts[0]["rejected"] == counts[1]["rejected"] == 1
