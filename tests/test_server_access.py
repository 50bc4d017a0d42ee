"""Which server is reached, with which key, and what is said where none can be; no secret is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import openai
import pytest
from fake_server import Refused, serving
from served import answers, free_port, loaded, prompts

from llm_aug.backends import load_llm
from llm_aug.backends.server import key_of, place_of
from llm_aug.backends.server_calls import BUSY_TRIES, NO_KEY, is_loopback
from llm_aug.backends.server_faults import LONGEST_REASON, Place
from llm_aug.errors import InputError, Resumable, Unavailable
from llm_aug.server_options import ServerOptions

pytestmark = pytest.mark.usefixtures("short_waits")


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
    for status in (404, 405, 501):
        with serving(models=Refused(status)) as fake:
            llm = loaded(fake)
            assert (llm.revision, llm.adapter) == ("", "")
            assert len(fake.headers) == 1
            assert answers(llm, prompts(1))[0].finish == "stop"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_list_of_models_that_comes_late_gives_the_same_revision(status: int) -> None:
    listed = {"data": [{"id": "tiny", "root": "/models/one"}]}
    with serving(models=listed) as fake:
        revision = loaded(fake).revision
        fake.models = [Refused(status), Refused(status), listed]
        assert loaded(fake).revision == revision != ""


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (503, BUSY_TRIES)])
def test_a_list_of_models_that_never_comes_is_no_model_without_revision(status: int, tries: int) -> None:
    with serving(models=Refused(status, error="still loading")) as fake:
        with pytest.raises(Unavailable, match=f"does not say which models it has \\({status}: still loading"):
            loaded(fake)
        assert len(fake.headers) == tries


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


def test_no_part_of_a_key_shows_where_a_long_reason_is_cut() -> None:
    place = Place("http://127.0.0.1:1/v1", "tiny", "MY_KEY", "sk-hidden")
    for before in range(LONGEST_REASON - 10, LONGEST_REASON + 1):
        assert "s" not in place.words("x" * before + "sk-hidden")


def test_a_key_is_hidden_in_its_escaped_form_too() -> None:
    for key in ("sk-one\nsk-two", "sk-'\"\\x", "sk-é"):
        place = Place("http://127.0.0.1:1/v1", "tiny", "MY_KEY", key)
        assert place.words(f"no header: {key!r}, {key}").count("***") == 2
        assert "sk-" not in place.words(f"no header: {key!r}, {key}")


@pytest.mark.parametrize("key", ["sk-one\nsk-two", "sk-hidden-é", "sk-\x07"])
def test_what_no_header_can_hold_is_no_key(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(InputError, match=r"MY_KEY .* more than printable ASCII") as caught:
        load_llm("server:http://127.0.0.1:1/v1#tiny", server=ServerOptions(api_key_env="MY_KEY"))
    assert "sk-" not in str(caught.value)


@pytest.fixture
def openai_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable that the client's code names, each with the same secret."""
    sources = "".join(path.read_text() for path in Path(openai.__file__).parent.rglob("*.py"))
    names = set(re.findall(r"\bOPENAI_[A-Z_]+", sources)) - {"OPENAI_LOG", "OPENAI_BASE_URL"}
    assert names >= {"OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"}
    for name in names:
        monkeypatch.setenv(name, "hidden")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway: hidden\nAuthorization: Bearer hidden\nUser-Agent: hidden")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/hidden")


@pytest.mark.parametrize("key", ["", "sk-right"])
@pytest.mark.usefixtures("openai_environment")
def test_nothing_that_the_environment_has_for_openai_is_sent(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("MY_KEY", key or "unused")
    with serving(key=key or None) as fake:
        answers(loaded(fake, api_key_env="MY_KEY" if key else ""), prompts(1))
        assert len(fake.headers) == 2
        assert "hidden" not in json.dumps(fake.headers).lower()
        sent = [{name.lower(): value for name, value in lines.items()} for lines in fake.headers]
        assert [lines["authorization"] for lines in sent] == [f"Bearer {key or NO_KEY}"] * 2


def test_a_variable_that_is_not_there_is_named() -> None:
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
