"""Scores of a server's model: from first tokens, from an echo, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_server import Refused, serving
from served import loaded, prompts

from llm_aug.backends.server_score import ending
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


def test_answers_cannot_be_held_to_titles() -> None:
    with serving() as fake, pytest.raises(InputError, match="constrained: false"):
        loaded(fake).restricted(["Heat"], 1)
