"""Servers misbehave: no row is lost, none is doubled, and what each is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from fake_server import Refused, serving
from served import PLAIN, answers, loaded, prompts

from llm_aug.backends import completed, server_faults, spent
from llm_aug.backends.server_faults import backoff, wait_of
from llm_aug.backends.server_limit import Limit
from llm_aug.data import Completion, Prompt, Sampling

pytestmark = pytest.mark.usefixtures("short_waits")


ONCE = [
    Refused(429, {"Retry-After": "0.05"}),
    Refused(429, {"Retry-After-Ms": "30"}),
    Refused(500),
    Refused(503, {"Retry-After": "0"}),
    "cut",
    "garbage",
    "list",
    "none",
    "two",
]


def test_whatever_befalls_a_request_its_row_is_answered_once() -> None:
    with serving(script={f"item {row}": [event] for row, event in enumerate(ONCE)}) as fake:
        llm = loaded(fake)
        found = answers(llm, prompts(40))
        assert [one.text for one in found] == [f"item {row} was answered" for row in range(40)]
        assert {one.finish for one in found} == {"stop"}
        assert len(fake.asked) == 40 + len(ONCE)
        assert llm.usage == {
            "requests": 40, "retries": len(ONCE), "prompt_tokens": 400, "completion_tokens": 320,
        }  # fmt: skip


def test_a_silent_server_is_asked_again() -> None:
    with serving(script={"item 1": ["silence"]}) as fake:
        found = answers(loaded(fake, timeout=0.5), prompts(3))
        assert [one.finish for one in found] == ["stop"] * 3
        assert fake.texts().count("item 1") == 2


@pytest.mark.parametrize("event", ["two", "none", "garbage", "cut"])
def test_a_row_that_is_never_answered_fails_alone_and_says_why(event: str) -> None:
    with serving(script={"item 1": [event] * 99}) as fake:
        found = answers(loaded(fake), prompts(5))
        assert [one.finish for one in found] == ["stop", "error", "stop", "stop", "stop"]
        assert found[1].text
        assert fake.texts().count("item 1") == 5


def test_a_prompt_too_long_for_the_server_fails_alone_at_the_first_try() -> None:
    long = Refused(400, error={"message": "maximum context length is 10 tokens"})
    with serving(script={"item 0": [long]}) as fake:
        found = answers(loaded(fake), prompts(2))
        assert found == [
            Completion("400: maximum context length is 10 tokens", "error", 0),
            Completion("item 1 was answered", "stop", 8),
        ]
        assert len(fake.asked) == 2


def test_a_prompt_that_is_no_unicode_fails_alone() -> None:
    with serving() as fake:
        found = answers(loaded(fake), [Prompt("", "\ud800"), Prompt("", "item")])
        assert [one.finish for one in found] == ["error", "stop"]
        assert "Unicode" in found[0].text


def test_how_an_answer_ended() -> None:
    with serving(script={"item 0": ["length"], "item 1": ["filter"]}) as fake:
        found = answers(loaded(fake), prompts(3))
        assert [one.finish for one in found] == ["length", "error", "stop"]
        assert "content_filter" in found[1].text


def test_the_limit_finds_what_the_server_bears() -> None:
    with serving(busy_above=3, seconds=0.02) as fake:
        llm = loaded(fake, in_flight=32)
        assert {one.finish for one in answers(llm, prompts(60))} == {"stop"}
        assert fake.most_at_once <= 16  # never near the 32 allowed
        assert llm.usage["retries"] < 60
        assert llm.calls.limit.now < 10


def test_the_limit_rises_while_all_goes_well() -> None:
    with serving(seconds=0.05) as fake:
        llm = loaded(fake, in_flight=12)
        answers(llm, prompts(120))
        assert 8 < fake.most_at_once <= 12
        assert llm.calls.limit.now == 12


def test_requests_refused_together_halve_the_limit_once() -> None:
    limit = Limit(64)
    for _ in range(8):
        limit.answered(in_flight=64)
    assert limit.now == 16  # doubled in its first round
    for _ in range(8):
        limit.refused(started=1.0, time=2.0)
    assert limit.now == 8
    limit.refused(started=3.0, time=4.0, wait=5.0)
    assert limit.now == 4
    assert not limit.admits(0, 8.9)
    assert limit.admits(1, 9.0)
    for _ in range(50):
        limit.refused(started=9.0, time=8.0)
    assert limit.now == 1
    limit.answered(1)
    assert limit.now == 2
    limit.answered(1)  # one under way, two allowed: nothing is learnt
    assert limit.now == 2


def test_retry_after_in_its_three_forms() -> None:
    assert wait_of({"retry-after": "2.5"}) == 2.5
    assert wait_of({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert wait_of({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert wait_of({"retry-after": "soon"}) is None
    assert wait_of({}) is None


@pytest.mark.parametrize("headers", [{"Retry-After": "0.4"}, {"Retry-After-Ms": "400", "Retry-After": "9"}])
def test_nothing_is_asked_before_the_server_wants_it(headers: dict[str, str]) -> None:
    with serving(script={"item 0": [Refused(429, headers)]}) as fake:
        answers(loaded(fake, in_flight=1), prompts(5))
        assert fake.texts()[0] == "item 0"
        assert 0.4 <= fake.times[1] - fake.times[0] < 5


def test_where_the_server_names_no_time_it_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_faults, "FIRST_WAIT", 0.4)
    monkeypatch.setattr(server_faults, "LONGEST_WAIT", 0.4)
    with serving(script={"item 0": [Refused(500)]}) as fake:
        answers(loaded(fake), prompts(1))
        assert fake.times[1] - fake.times[0] >= 0.2


def test_waits_grow_and_are_the_same_for_the_same_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_faults, "FIRST_WAIT", 0.5)
    monkeypatch.setattr(server_faults, "LONGEST_WAIT", 30.0)
    assert backoff(7, 1) == backoff(7, 1) != backoff(8, 1)
    assert [0.25 * 2**n <= backoff(7, n + 1) <= 0.5 * 2**n for n in range(6)] == [True] * 6
    assert backoff(7, 99) <= 30


def test_a_field_that_the_server_refuses_is_left_out_from_then_on(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(refuses=("seed", "max_tokens")) as fake, pytest.MonkeyPatch.context() as patch:
        patch.setattr("fake_server.completion", lambda body, event, logprobs: ANSWER)
        llm = loaded(fake, in_flight=1)
        assert {one.finish for one in answers(llm, prompts(10))} == {"stop"}
        assert len(fake.asked) == 12
        fake.seconds, llm = 0.01, loaded(fake)
        assert {one.finish for one in answers(llm, prompts(40))} == {"stop"}  # refused while others are accepted
        assert fake.asked[-1].keys() >= {"max_completion_tokens", "temperature", "top_p"}
        assert not fake.asked[-1].keys() & {"seed", "max_tokens"}
        assert capsys.readouterr().err.count("takes no seed") == 2


ANSWER = {"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]}


def test_a_refusal_that_only_mentions_seed_costs_the_other_rows_nothing() -> None:
    """The text of a prompt may stand in the server's words."""
    with serving(script={"item 0": [Refused(400, error="too long: the seed of evil")] * 2}) as fake:
        llm = loaded(fake)
        assert [one.finish for one in answers(llm, prompts(3))] == ["error", "stop", "stop"]
        assert all("seed" in body for body in fake.asked if body["messages"][-1]["content"] != "item 0")
        assert llm.calls.refused == set()


def test_each_row_has_its_own_seed_and_the_fields_of_the_recipe() -> None:
    with serving() as fake:
        llm = loaded(fake, extra={"chat_template_kwargs": {"enable_thinking": False}})
        completed(llm, prompts(3), Sampling(0.7, 0.9, 5), [5, 6, 2**62 + 7])
        assert sorted(body["seed"] for body in fake.asked) == [5, 6, 7]
        assert {(body["temperature"], body["top_p"], body["max_tokens"]) for body in fake.asked} == {(0.7, 0.9, 5)}
        assert all(body["chat_template_kwargs"] == {"enable_thinking": False} for body in fake.asked)
        assert llm.revision != loaded(fake).revision


def test_plain_completion_sends_the_prompt_as_one_text() -> None:
    with serving() as fake:
        [answer] = answers(loaded(fake, plain=True), [Prompt("Be brief.", "Toy Story")])
        assert fake.asked[0]["prompt"] == "Be brief.\n\nToy Story\n\n"
        assert answer.finish == "stop"


def test_item_text_cannot_end_its_own_turn() -> None:
    with serving() as fake:
        answers(loaded(fake), [Prompt("", "A<|im_end|>B</s>C<｜User｜>D[/INST]E<end_of_turn>F <b>bold</b> |x|")])
        sent = fake.asked[0]["messages"][-1]["content"]
        assert sent == "A< |im_end|>B< /s>C< ｜User｜>D[ /INST]E< end_of_turn>F <b>bold</b> |x|"


def test_what_was_spent_since() -> None:
    with serving() as fake:
        llm = loaded(fake, prompt_price=2.0, completion_price=10.0)
        answers(llm, prompts(5))
        before = spent(llm)
        assert before["cost"] == pytest.approx((50 * 2 + 40 * 10) / 1e6)
        answers(llm, prompts(1))
        assert spent(llm, before) == pytest.approx(
            {"requests": 1, "retries": 0, "prompt_tokens": 10, "completion_tokens": 8, "cost": 100 / 1e6}
        )


def test_an_abandoned_call_leaves_no_thread_and_asks_no_more() -> None:
    with serving(seconds=0.01) as fake:
        rows: Iterator[Any] = loaded(fake, in_flight=2).complete(prompts(500), PLAIN, range(500))
        assert len(list(islice(rows, 3))) == 3
        rows.close()  # type: ignore[attr-defined]
        assert not [thread for thread in threading.enumerate() if thread.name == "server calls"]
        assert len(fake.asked) < 100


def test_nothing_to_ask_asks_nothing() -> None:
    with serving() as fake:
        assert list(loaded(fake).complete([], PLAIN, [])) == []
        assert fake.asked == []
