"""What no row may do to the others: a server that cannot answer one of them, and counts that cannot be true."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from fake_server import Refused, serving
from served import answers, loaded, prompts

from llm_aug.backends import server_calls, server_faults
from llm_aug.backends.server_limit import Limit
from llm_aug.data import Dataset, Sampling, tidy_interactions, tidy_items
from llm_aug.errors import Unavailable
from llm_aug.generate import GenerateOptions, generate
from llm_aug.tasks.rewrite import Rewrite

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.mark.parametrize("dead", [False, True])
def test_silence_on_some_rows_is_not_the_silence_of_a_server(dead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_calls, "LOST_TRIES", 2)
    with serving(script={f"item {row}": ["silence"] * 9999 for row in range(6)}) as fake:
        llm = loaded(fake, timeout=0.3)
        fake.models = "silence" if dead else fake.models
        if dead:
            with pytest.raises(Unavailable, match=r"answers no more .*in time"):
                answers(llm, prompts(6))
        else:
            assert [one.finish for one in answers(llm, prompts(8))] == ["error"] * 6 + ["stop"] * 2


def catalogue(items: int) -> Dataset:
    rows = {"item_id": [f"i{n}" for n in range(items)], "title": [f"apple{n}" for n in range(items)]}
    none = tidy_interactions(pd.DataFrame({"user_id": [], "item_id": []}))
    return Dataset(tidy_items(pd.DataFrame(rows)), none)


@pytest.mark.parametrize("event", ["none", "cut", "drop"])
def test_rows_that_the_server_can_never_answer_do_not_keep_a_run_from_its_end(event: str, tmp_path: Path) -> None:
    script = {f"Title: apple{n}": [event] * 9999 for n in range(0, 200, 40)}
    with serving(script=script) as fake:
        options = GenerateOptions(sampling=Sampling(max_tokens=8), stop_share=2.0)
        result = generate(Rewrite(style="describe"), catalogue(200), loaded(fake), options, tmp_path)
    assert (result.asked, result.parsed, result.failed) == (200, 195, 5)
    assert pq.read_table(tmp_path / "samples.parquet").num_rows == 195


@pytest.mark.parametrize("count", [10**20, 2**63, 2**31, -5, True, 1.5, "7", [], None])
def test_a_count_that_cannot_be_true_is_none(count: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(body: Any, event: Any, logprobs: bool) -> Any:
        choice = {"message": {"content": "fine"}, "finish_reason": "stop"}
        return {"choices": [choice], "usage": {"prompt_tokens": count, "completion_tokens": count}}

    monkeypatch.setattr("fake_server.completion", odd)
    with serving() as fake:
        llm = loaded(fake, prompt_price=2.0)
        [answer] = answers(llm, prompts(1))
        assert (answer.text, answer.n_tokens) == ("fine", 0)
        assert llm.usage == {"requests": 1, "retries": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost": 0}


def test_a_server_that_is_busy_and_names_no_time_is_left_alone_by_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_faults, "FIRST_WAIT", 0.6)
    monkeypatch.setattr(server_faults, "LONGEST_WAIT", 0.6)
    with serving(script={"item 0": [Refused(429)]}) as fake:
        answers(loaded(fake, in_flight=1), prompts(4))
        assert np.diff(fake.times)[0] >= 0.3
        assert fake.times[-1] - fake.times[1] < 0.3


def test_another_error_makes_its_own_row_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_faults, "FIRST_WAIT", 0.6)
    with serving(script={"item 0": [Refused(500)]}) as fake:
        llm = loaded(fake, in_flight=1)
        started = time.monotonic()
        next(iter(llm.complete(prompts(4), Sampling(0.0, 1.0, 8), range(4))))
        assert time.monotonic() - started < 0.3


def test_refusals_in_a_row_are_those_since_the_last_answer() -> None:
    limit = Limit(64)
    for started, at in ((1.0, 2.0), (1.5, 2.1), (3.0, 4.0)):
        limit.refused(started, at)
    assert limit.in_a_row == 2
    limit.answered(in_flight=1)
    assert limit.in_a_row == 0
    limit.pause(9.0)
    limit.pause(5.0)
    assert not limit.admits(0, 8.9)


def test_a_connection_that_breaks_lowers_the_limit() -> None:
    with serving(script={f"item {row}": ["drop"] for row in range(8)}) as fake:
        llm = loaded(fake, in_flight=8)
        assert {one.finish for one in answers(llm, prompts(8))} == {"stop"}
        assert llm.calls.limit.now < 8
