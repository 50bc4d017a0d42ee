"""Log-probabilities from a server, which shows those of a few tokens only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llm_aug.backends import Scores
from llm_aug.backends.server_calls import Call, Calls, count_of, only_choice
from llm_aug.backends.server_faults import BadAnswer, Fault
from llm_aug.errors import InputError

TOP = 20  # the most that servers show
Measured = tuple[float, int]  # sum of log-probabilities, tokens
UNKNOWN: Measured = (float("nan"), 1)


class NoLogProbabilities(Exception):
    """The server answers without them."""


def scored(
    calls: Calls, name: str, bodies: Sequence[dict[str, Any]], continuations: Sequence[str], chat: bool
) -> Scores:
    """bodies: one per prompt, without what is drawn. NaN where a prompt is refused, or a token not shown."""
    try:
        found = (_by_first_token if chat else _by_echo)(calls, bodies, continuations)
    except NoLogProbabilities as error:
        raise InputError(
            f"{name} gives no log-probabilities ({error}), so it cannot judge; run the model here, or on vLLM"
        ) from None
    sums = np.array([[value for value, _ in row] for row in found], dtype=np.float64)
    tokens = [max((row[place][1] for row in found), default=1) for place in range(len(continuations))]
    return Scores(sums.reshape(len(bodies), len(continuations)), np.array(tokens, dtype=np.int64))


def _by_first_token(
    calls: Calls, bodies: Sequence[dict[str, Any]], continuations: Sequence[str]
) -> list[list[Measured]]:
    drawn = {"temperature": 0.0, "max_tokens": 1, "logprobs": True, "top_logprobs": TOP}
    asked = [Call(row, "/chat/completions", {**body, **drawn}, row) for row, body in enumerate(bodies)]
    found = [[UNKNOWN for _ in continuations] for _ in bodies]
    for row, top in calls.run(asked, _first_token) if asked else ():
        if isinstance(top, Fault):
            _check(top, ("logprobs", "top_logprobs"), bodies[row])
        else:
            found[row] = [(top.get(continuation, UNKNOWN[0]), 1) for continuation in continuations]
    return found


def _first_token(answer: Mapping[str, Any]) -> dict[str, float]:
    logprobs = _logprobs(answer)
    shown = logprobs.get("content")
    if shown is None and not logprobs.get("refusal"):
        raise NoLogProbabilities("its answers show no token's")
    try:
        return {entry["token"]: float(entry["logprob"]) for entry in shown[0]["top_logprobs"]} if shown else {}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise BadAnswer("the answer's log-probabilities cannot be read") from None


def _by_echo(calls: Calls, bodies: Sequence[dict[str, Any]], continuations: Sequence[str]) -> list[list[Measured]]:
    """One token is drawn and thrown away: not every server draws none."""
    drawn = {"temperature": 0.0, "max_tokens": 1, "logprobs": 1, "echo": True}
    pairs = [(body, continuation) for body in bodies for continuation in continuations]
    asked = [
        Call(number, "/completions", {**body, **drawn, "prompt": body["prompt"] + continuation}, number)
        for number, (body, continuation) in enumerate(pairs)
    ]
    found = [UNKNOWN] * len(pairs)
    for number, tokens in calls.run(asked, _echoed) if asked else ():
        if isinstance(tokens, Fault):
            _check(tokens, ("logprobs", "echo"), pairs[number][0])
        else:
            found[number] = ending(tokens, pairs[number][1])
    width = len(continuations)
    return [found[row * width : (row + 1) * width] for row in range(len(bodies))]


def _echoed(answer: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(token, log-probability) of the prompt, without what was drawn after it."""
    logprobs = _logprobs(answer)
    tokens, shown = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(shown, list):
        raise NoLogProbabilities("its /completions does not list tokens; name the model as server:... if it is a chat")
    try:
        values = [float("nan") if value is None else float(value) for value in shown]
        pairs = list(zip(map(str, tokens), values, strict=True))
    except (TypeError, ValueError, OverflowError):
        raise BadAnswer("the answer's log-probabilities cannot be read") from None
    drawn = count_of(answer.get("usage"), "completion_tokens", unknown=1)
    if drawn >= len(pairs):
        raise NoLogProbabilities("it ignores `echo`, and shows what it wrote alone")
    return pairs[: len(pairs) - drawn]


def ending(tokens: Sequence[tuple[str, float]], continuation: str) -> Measured:
    """Of the last tokens that make up the continuation; unknown where it begins inside a token."""
    text, total = "", 0.0
    for count, (token, value) in enumerate(reversed(tokens), start=1):
        text, total = token + text, total + value
        if text.strip(" ") == continuation.strip(" "):
            return total, count
        if len(text.strip(" ")) >= len(continuation):
            break
    return UNKNOWN


def _logprobs(answer: Mapping[str, Any]) -> dict[str, Any]:
    shown = only_choice(answer).get("logprobs")
    if not isinstance(shown, dict):
        raise NoLogProbabilities("its answers are without them")
    return shown


def _check(fault: Fault, fields: Sequence[str], body: Mapping[str, Any]) -> None:
    """Raises where the server refuses one of the fields. A word that stands in the prompt may be quoted from it."""
    for name in fields:
        quoted = not fault.parameter and re.search(rf"\b{name}\b", str(body))
        if fault.names(name) and not quoted:
            raise NoLogProbabilities(fault.reason)
