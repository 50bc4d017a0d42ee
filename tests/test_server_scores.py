"""Scores of a server's model: from first tokens, from an echo, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_server import Refused, serving
from served import answers, loaded, prompts

from llm_aug.backends.server_faults import BadAnswer
from llm_aug.backends.server_score import _echoed, _first_token, ending
from llm_aug.data import Prompt
from llm_aug.errors import InputError

pytestmark = pytest.mark.usefixtures("short_waits")


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


REFUSALS = [
    (Refused(400, error={"message": "not here", "param": "echo"}), True),
    (Refused(422, error={"message": "Extra input: echo is not permitted"}), True),
    (Refused(400, error={"message": "bad prompt: 'about Echo and echo'", "param": "prompt"}), False),
    (Refused(400, error={"message": "echoes in the prompt are too long"}), False),
    (Refused(403, error={"message": "no echo for you"}), False),
]


@pytest.mark.parametrize(("refusal", "ends"), REFUSALS)
def test_a_refusal_ends_the_scoring_only_where_it_is_about_the_scoring(refusal: Refused, ends: bool) -> None:
    script = {"Be brief.\n\nitem 1\n\nyes": [refusal] * 2}
    with serving(script=script) as fake:
        llm = loaded(fake, plain=True)
        answers(llm, prompts(1))
        if ends:
            with pytest.raises(InputError, match="no log-probabilities"):
                llm.score(prompts(3), ["yes", "no"])
        else:
            assert np.isnan(llm.score(prompts(3), ["yes", "no"]).sums).tolist() == [
                [False, False], [True, False], [False, False],
            ]  # fmt: skip


def test_a_word_that_is_quoted_from_the_prompt_does_not_end_the_scoring() -> None:
    refusal = Refused(400, error={"message": "too long: 'an echo without logprobs'"})
    asked = [Prompt("", "an echo without logprobs"), Prompt("", "item")]
    with serving(script={asked[0].user: [refusal]}) as fake:
        assert np.isnan(loaded(fake).score(asked, ["yes", "no"]).sums).tolist() == [[True, True], [False, False]]
    with serving(script={f"{asked[0].user}\n\nyes": [refusal]}) as fake:
        found = loaded(fake, plain=True).score(asked, ["yes", "no"]).sums
        assert np.isnan(found).tolist() == [[True, False], [False, False]]


CHAT, TOKEN = {"message": {"content": "!"}, "finish_reason": "length"}, {"token": "!", "logprob": -1.0}
STRANGE = [
    (True, {**CHAT, "logprobs": {"content": None}}, "show no token's"),
    (False, {**CHAT, "logprobs": {"content": [TOKEN]}}, "does not list tokens"),
    (False, {**CHAT, "logprobs": {"content": None}}, "does not list tokens"),
    (False, {"text": "!", "logprobs": {"tokens": ["!"], "token_logprobs": [-1.0]}}, "ignores `echo`"),
    (False, {"text": "!", "logprobs": {"tokens": None, "token_logprobs": None}}, "does not list tokens"),
]


@pytest.mark.parametrize(("chat", "choice", "words"), STRANGE)
@pytest.mark.parametrize("usage", [None, {"completion_tokens": 1}])
def test_a_server_that_scores_otherwise_is_told_so(
    chat: bool, choice: Any, words: str, usage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fake_server.completion", lambda *asked: {"choices": [choice], "usage": usage})
    with serving() as fake, pytest.raises(InputError, match=f"no log-probabilities .*{words}"):
        loaded(fake, plain=not chat).score(prompts(3), ["yes", "no"])
    assert len(fake.asked) <= 6  # each prompt once at most


def test_a_refused_text_has_no_score_and_no_number_is_too_large() -> None:
    refused = {"choices": [{**CHAT, "logprobs": {"content": None, "refusal": [TOKEN]}}]}
    assert _first_token(refused) == {}
    huge = {"content": [{"token": "!", "top_logprobs": [{"token": "yes", "logprob": 10**400}]}]}
    with pytest.raises(BadAnswer):
        _first_token({"choices": [{**CHAT, "logprobs": huge}]})
    with pytest.raises(BadAnswer):
        _echoed({"choices": [{"logprobs": {"tokens": ["a", "b"], "token_logprobs": [None, 10**400]}}]})


@pytest.mark.parametrize("count", [True, -1, 10**20, "1", None])
def test_where_the_server_does_not_count_one_token_was_drawn(count: Any) -> None:
    choice = {"logprobs": {"tokens": ["a", "b", "!"], "token_logprobs": [None, -1, -2]}}
    found = _echoed({"choices": [choice], "usage": {"completion_tokens": count}})
    assert [token for token, _ in found] == ["a", "b"]


def test_answers_cannot_be_held_to_titles() -> None:
    with serving() as fake, pytest.raises(InputError, match="constrained: false"):
        loaded(fake).restricted(["Heat"], 1)
