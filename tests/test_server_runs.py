"""Runs by a server: resumed without doubled rows, whatever it answers; and a real server's answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import WORDS
from fake_server import Refused, serving
from hypothesis import given, settings
from hypothesis import strategies as st
from served import free_port, loaded

from llm_aug.backends import completed, load_llm
from llm_aug.backends.server_calls import MOST_TOKENS
from llm_aug.backends.server_faults import BadAnswer
from llm_aug.backends.server_llm import Server
from llm_aug.backends.server_score import NoLogProbabilities, _echoed, _first_token
from llm_aug.config import recipe_of
from llm_aug.data import Dataset, Prompt, Sampling, tidy_interactions, tidy_items
from llm_aug.errors import InputError, Resumable
from llm_aug.generate import GenerateOptions, generate
from llm_aug.sections import Engine
from llm_aug.server_options import ServerOptions
from llm_aug.tasks.rewrite import Rewrite

pytestmark = pytest.mark.usefixtures("short_waits")


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
COUNTS = JSON | st.fixed_dictionaries({"completion_tokens": JSON | st.integers(-(2**70), 2**70)})
SHOWN = JSON | st.fixed_dictionaries(
    {
        "content": JSON | st.just([{"token": "a", "top_logprobs": [{"token": "b", "logprob": 10**400}]}]),
        "tokens": JSON | st.lists(JSON, max_size=3),
        "token_logprobs": JSON | st.lists(JSON | st.just(10**400), max_size=3),
    }
)


@given(content=JSON, ended=JSON | st.just("stop"), usage=COUNTS, logprobs=SHOWN)
@settings(max_examples=200, deadline=None)
def test_no_answer_is_so_strange_that_it_ends_the_run(content: Any, ended: Any, usage: Any, logprobs: Any) -> None:
    """Whatever stands where text, end and counts belong: a completion, or a reason to ask again."""
    llm = Server.__new__(Server)
    choice = {"message": {"content": content}, "text": content, "finish_reason": ended, "logprobs": logprobs}
    choices = [{"choices": [choice], "usage": usage}, {"choices": content}, {"choices": [content]}, {}]
    for answer in choices:
        for llm.chat in (True, False):
            with suppress(BadAnswer):
                found = llm._completion(answer)
                assert isinstance(found.text, str)
                assert type(found.n_tokens) is int
                assert 0 <= found.n_tokens < MOST_TOKENS
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
    pytest.importorskip("fastapi", reason="needs transformers[serving]")
    pytest.importorskip("uvicorn", reason="needs transformers[serving]")
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
                pytest.fail(f"transformers serve ended: {log.read_text()[-500:]}")
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
