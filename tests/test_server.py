"""Servers misbehave: no row is lost, none is doubled, and what cannot be mended is said in one sentence."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import WORDS
from fake_server import FakeServer, Refused, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_aug.backends import completed, load_llm, server_faults, spent
from llm_aug.backends.server import key_of, place_of
from llm_aug.backends.server_calls import is_loopback
from llm_aug.backends.server_faults import BadAnswer, backoff, wait_of
from llm_aug.backends.server_limit import Limit
from llm_aug.backends.server_llm import Server
from llm_aug.backends.server_score import NoLogProbabilities, _echoed, _first_token, ending
from llm_aug.config import recipe_of
from llm_aug.data import Completion, Dataset, Prompt, Sampling, tidy_interactions, tidy_items
from llm_aug.errors import InputError, Resumable, Unavailable
from llm_aug.generate import GenerateOptions, generate
from llm_aug.sections import Engine
from llm_aug.server_options import ServerOptions
from llm_aug.tasks.rewrite import Rewrite

PLAIN = Sampling(0.0, 1.0, 8)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_faults, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(server_faults, "LONGEST_WAIT", 0.05)


def loaded(fake: FakeServer, plain: bool = False, extra: dict[str, Any] | None = None, **options: Any) -> Server:
    name = fake.name.replace("server:", "server-plain:") if plain else fake.name
    llm = load_llm(name, server=ServerOptions(**options), extra=extra or {})
    assert isinstance(llm, Server)
    return llm


def prompts(count: int) -> list[Prompt]:
    return [Prompt("Be brief.", f"item {row}") for row in range(count)]


def answers(llm: Server, asked: list[Prompt], sampling: Sampling = PLAIN) -> list[Completion]:
    """In the order of the prompts, each answered once."""
    found = list(llm.complete(asked, sampling, range(len(asked))))
    assert Counter(row for row, _ in found) == Counter(range(len(asked)))
    return [completion for _, completion in sorted(found, key=lambda pair: pair[0])]


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


def test_a_chat_is_scored_by_the_likeliest_first_tokens() -> None:
    with serving(script={"item 1": [Refused(400)]}) as fake:
        scores = loaded(fake).score(prompts(3), ["yes", "no", "perhaps"])
        np.testing.assert_array_equal(
            scores.sums, [[-0.5, -1.5, np.nan], [np.nan, np.nan, np.nan], [-0.5, -1.5, np.nan]]
        )
        assert {(body["max_tokens"], body["top_logprobs"]) for body in fake.asked} == {(1, 20)}
        assert loaded(fake).score([], ["yes", "no"]).sums.shape == (0, 2)


def test_a_plain_prompt_is_scored_by_its_echo() -> None:
    """The fake's log-probability of a character is its code over -100."""
    with serving() as fake:
        scores = loaded(fake, plain=True).score(prompts(2), ["yes", "no"])
        expected = [-sum(map(ord, word)) / 100 for word in ("yes", "no")]
        np.testing.assert_allclose(scores.sums, [expected, expected])
        assert scores.tokens.tolist() == [3, 2]


def test_an_ending_that_begins_inside_a_token_has_no_score() -> None:
    tokens = [("Like", -1.0), ("\n\n", -2.0), ("y", -3.0), ("es", -4.0)]
    assert ending(tokens, "yes") == (-7.0, 2)
    assert ending([*tokens[:2], (" yes", -5.0)], "yes") == (-5.0, 1)
    assert np.isnan(ending([("Like\n\ny", -1.0), ("es", -2.0)], "yes")[0])
    assert np.isnan(ending([], "yes")[0])


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("options", [{"logprobs": False}, {"refuses": ("logprobs",)}])
def test_a_server_without_log_probabilities_cannot_judge(plain: bool, options: dict[str, Any]) -> None:
    with serving(**options) as fake, pytest.raises(InputError, match="no log-probabilities"):
        loaded(fake, plain=plain).score(prompts(3), ["yes", "no"])


def test_answers_cannot_be_held_to_titles() -> None:
    with serving() as fake, pytest.raises(InputError, match="constrained: false"):
        loaded(fake).restricted(["Heat"], 1)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def test_where_no_server_is_one_sentence_says_so() -> None:
    with pytest.raises(Unavailable, match=r"no server answers at http://127\.0\.0\.1"):
        load_llm(f"server:http://127.0.0.1:{free_port()}/v1#tiny")


def test_a_server_that_goes_away_ends_the_stage() -> None:
    with serving() as fake:
        llm = loaded(fake)
        answers(llm, prompts(2))
    with pytest.raises(Unavailable, match="answers no more"):
        answers(llm, prompts(50))


def test_a_model_that_the_server_does_not_have_ends_the_stage(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = Refused(404, error={"message": "The model `tiny` does not exist"})
    with serving(script={"item 0": [unknown]}, models={"data": [{"id": "huge"}]}) as fake:
        llm = loaded(fake)
        assert "does not list 'tiny', but huge" in capsys.readouterr().err
        with pytest.raises(Unavailable, match="has no model 'tiny'"):
            answers(llm, prompts(1))


def test_a_server_without_a_list_of_models_is_asked_all_the_same() -> None:
    with serving(models=Refused(404)) as fake:
        llm = loaded(fake)
        assert (llm.revision, llm.adapter) == ("", "")
        assert answers(llm, prompts(1))[0].finish == "stop"


def test_revision_and_adapter_are_what_the_server_says() -> None:
    def model(**entry: Any) -> dict[str, Any]:
        return {"data": [{"id": "other"}, {"id": "tiny", **entry}]}

    with serving(models=model(root="/models/one", created=1)) as fake:
        first = loaded(fake)
        fake.models = model(root="/models/one", created=2)
        assert loaded(fake).revision == first.revision != ""
        assert first.adapter == ""
        fake.models = model(root="/models/two", parent="base")
        assert loaded(fake).revision != first.revision
        assert loaded(fake).adapter == "tiny"


def test_a_refused_key_is_an_input_error_that_never_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-hidden")
    with serving(key="sk-right") as fake:
        with pytest.raises(InputError, match=r"check the environment variable MY_KEY") as caught:
            loaded(fake, api_key_env="MY_KEY")
        assert "sk-hidden" not in str(caught.value)
        with pytest.raises(InputError, match="name the environment variable"):
            loaded(fake)
        monkeypatch.setenv("MY_KEY", "sk-right\n")
        llm = loaded(fake, api_key_env="MY_KEY")
        assert answers(llm, prompts(1))[0].finish == "stop"
        assert "sk-right" not in f"{llm.name} {llm.revision} {llm.calls!r} {llm.options!r}"


def test_a_key_in_the_servers_words_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-hidden")
    with serving(script={"item 0": [Refused(400, error="bad request by sk-hidden")]}) as fake:
        assert answers(loaded(fake, api_key_env="MY_KEY"), prompts(1))[0].text == "400: bad request by ***"


def test_without_a_named_variable_no_key_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hidden")
    with serving() as fake:
        loaded(fake)
        assert "sk-hidden" not in json.dumps(fake.headers)
    with pytest.raises(InputError, match="'NO_SUCH_KEY'"):
        key_of("NO_SUCH_KEY")


def test_no_credit_left_is_to_be_mended_and_resumed() -> None:
    empty = Refused(429, error={"message": "You exceeded your quota", "code": "insufficient_quota"})
    with serving(script={"item 0": [empty]}) as fake, pytest.raises(Resumable, match="credit"):
        answers(loaded(fake), prompts(1))


def test_a_forbidden_text_fails_alone_a_forbidden_server_does_not() -> None:
    with serving(script={"item 1": [Refused(403)] * 2}) as fake:
        llm = loaded(fake, in_flight=1)
        assert [one.finish for one in answers(llm, prompts(2))] == ["stop", "error"]
        with pytest.raises(InputError, match="status 403"):
            answers(loaded(fake), prompts(2)[1:])


def test_proxies_of_the_environment_do_not_catch_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as fake:
        assert answers(loaded(fake), prompts(1))[0].finish == "stop"
    assert all(is_loopback(f"http://{host}:1/v1") for host in ("localhost", "127.1.2.3", "[::1]"))
    assert not any(is_loopback(f"http://{host}:1/v1") for host in ("10.0.0.1", "a.org", "localhost.org"))


@pytest.mark.parametrize("name", ["http://a/v1", "http://a/v1#", "ftp://a#m", "a#m", "http://[a#m", "http://a:b/v1#m"])
def test_a_name_that_is_no_server(name: str) -> None:
    with pytest.raises(InputError, match=r"server:http://localhost:8000/v1#MODEL"):
        place_of(f"server:{name}")


@pytest.mark.parametrize("name", ["http://me:secret@a/v1#m", "http://a/v1?key=secret#m"])
def test_a_url_holds_no_secret(name: str) -> None:
    with pytest.raises(InputError) as caught:
        place_of(f"server:{name}")
    assert "secret" not in str(caught.value)


def test_an_adapter_is_a_name_on_the_server(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="#ITS-NAME"):
        load_llm("server:http://127.0.0.1:1/v1#tiny", adapter=tmp_path)


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


def fruits() -> Dataset:
    items = pd.DataFrame({"item_id": ["i0", "i1", "i2"], "title": ["apple", "pear", "plum"]})
    return Dataset(tidy_items(items), tidy_interactions(pd.DataFrame({"user_id": [], "item_id": []})))


def test_a_run_goes_on_where_rows_failed_and_asks_for_these_alone(tmp_path: Path) -> None:
    task, options = Rewrite(style="describe"), GenerateOptions(sampling=Sampling(max_tokens=8), stop_share=2.0)
    with serving(script={"Title: pear": [Refused(400)] * 2}) as fake:
        first = generate(task, fruits(), loaded(fake), options, tmp_path)
        assert (first.parsed, first.failed, first.reused) == (2, 1, 0)
        assert fake.texts().count("Title: pear") == 2
        second = generate(task, fruits(), loaded(fake), options, tmp_path)
        assert (second.parsed, second.failed, second.reused) == (3, 0, 2)
        assert len(fake.asked) == 5


def test_a_server_that_never_says_anything_ends_the_run_to_be_resumed(tmp_path: Path) -> None:
    options = GenerateOptions(sampling=Sampling(max_tokens=8), stall_seconds=2.0)
    with serving(script={"Title: pear": ["silence"]}) as fake, pytest.raises(Resumable, match="hangs"):
        generate(Rewrite(style="describe"), fruits(), loaded(fake), options, tmp_path)
    assert len(pq.read_table(tmp_path / "answers")) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(content=JSON, ended=JSON, usage=JSON, logprobs=JSON)
@settings(max_examples=200, deadline=None)
def test_no_answer_is_so_strange_that_it_ends_the_run(content: Any, ended: Any, usage: Any, logprobs: Any) -> None:
    """Whatever stands where text, end and counts belong: a completion, or a reason to ask again."""
    llm = Server.__new__(Server)
    choice = {"message": {"content": content}, "text": content, "finish_reason": ended, "logprobs": logprobs}
    choices = [{"choices": [choice], "usage": usage}, {"choices": content}, {"choices": [content]}, {}]
    for answer in choices:
        for llm.chat in (True, False):
            with suppress(BadAnswer):
                assert isinstance(llm._completion(answer).text, str)
        for read in (_first_token, _echoed):
            with suppress(BadAnswer, NoLogProbabilities):
                read(answer)


def test_the_engine_section_of_a_recipe_says_all_that_a_server_needs() -> None:
    entries = ["api_key_env=MY_KEY", "in_flight=3", "timeout=9", "prompt_price=0.5", "extra={top_k: 5}"]
    engine = recipe_of([f"engine.{entry}" for entry in entries]).engine
    assert engine.server == ServerOptions("MY_KEY", 3, 9.0, 0.5, 0.0)
    assert engine.extra == {"top_k": 5}
    assert hash(engine) == hash(recipe_of([f"engine.{entry}" for entry in entries]).engine) != hash(Engine())
    with pytest.raises(InputError, match="api_key_env"):
        recipe_of(["engine.api_key_nv=MY_KEY"])


@pytest.fixture(scope="module")
def transformers_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of `transformers serve`, which loads whatever model folder a request names."""
    folder, port = tmp_path_factory.mktemp("serve"), free_port()
    hidden = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder), "OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).with_name("transformers")), "serve", "--device", "cpu", "--port", str(port)]
    log = folder / "log.txt"
    with (
        log.open("w") as told,
        subprocess.Popen(
            [*command, "--host", "127.0.0.1"], stdout=told, stderr=told, env={**os.environ, **hidden}
        ) as process,
    ):
        try:
            while process.poll() is None and not answers_at(port):
                time.sleep(0.2)
            if process.poll() is not None:
                pytest.skip(f"transformers serve does not start here: {log.read_text()[-500:]}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def answers_at(port: int) -> bool:
    with socket.socket() as trying:
        return trying.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "architecture"), [("server", "qwen2"), ("server-plain", "llama")])
def test_a_real_server_gives_the_texts_that_the_same_model_gives_here(
    transformers_server: str, model_folder: Callable[..., Path], scheme: str, architecture: str
) -> None:
    folder = model_folder(architecture)
    asked = [Prompt("Be brief.", " ".join(WORDS.split()[: 3 * n])) for n in range(1, 17)]
    here = completed(load_llm(str(folder), device="cpu"), asked, Sampling(0.0, 1.0, 12), range(16))
    there = load_llm(f"{scheme}:{transformers_server}#{folder}", server=ServerOptions(in_flight=4))
    found = completed(there, asked, Sampling(0.0, 1.0, 12), range(16))
    assert [one.text for one in found] == [one.text for one in here]
    assert {one.finish for one in found} <= {"stop", "length"}
    with pytest.raises(InputError, match="no log-probabilities"):
        there.score(asked[:2], ["yes", "no"])
