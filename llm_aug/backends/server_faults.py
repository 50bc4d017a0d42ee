"""What an error of a server means: ask again, and when; give the row up; or stop, as no other row would fare better."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Literal

import openai

from llm_aug import seeds
from llm_aug.errors import InputError, LlmAugError, Resumable, Unavailable

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before the second try, and before any where the server names none
LONGEST_REASON = 300
NO_CREDIT = "insufficient_quota"
NOT_NOW = (408, 409, 425, 429)
NO_LIST = (404, 405, 501)  # of a server that does not list its models


class BadAnswer(Exception):
    """An answer of status 200 that is not what was asked for."""


@dataclass(frozen=True)
class Place:
    """Where a model is asked. key_env: the variable that holds the key, '' where none was named."""

    url: str
    model: str
    key_env: str = ""
    key: str = field(default="", repr=False)

    @property
    def key_hint(self) -> str:
        if not self.key_env:
            return "name the environment variable that holds the key: engine.api_key_env"
        return f"check the environment variable {self.key_env} (engine.api_key_env)"

    def words(self, text: str) -> str:
        """In one line, and without the key, which some servers and libraries repeat, as it is or escaped."""
        for shown in (self.key, repr(self.key)[1:-1]) if self.key else ():
            text = text.replace(shown, "***")
        return " ".join(text.split())[:LONGEST_REASON]


@dataclass(frozen=True)
class Fault:
    """Why a request failed, or a row is given up.

    kind: 'busy' (too many requests for it at present), 'cut' (no connection, or one that broke), 'bad' (an answer of
    nonsense), 'row' (never better).

    status: of the answer, 0 without one. wait: seconds that the server asks for, None where it names none. parameter:
    the field of the request that it says is wrong, ''.
    """

    kind: Literal["busy", "cut", "bad", "row"]
    reason: str
    status: int = 0
    wait: float | None = None
    parameter: str = ""

    def names(self, parameter: str) -> bool:
        """Whether it may be this field of the request that the server does not take."""
        found = self.parameter == parameter if self.parameter else re.search(rf"\b{parameter}\b", self.reason)
        return self.status in (400, 422) and bool(found)


def fault_of(error: Exception, place: Place, worked: bool, listing: bool = False) -> Fault:
    """worked: whether the server has answered anything yet. listing: whether it was asked for its models only.

    Raises a LlmAugError where no row can be answered.
    """
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return Fault("busy", "the server did not answer in time")
    if isinstance(error, BadAnswer):
        return Fault("bad", str(error))
    if not isinstance(error, openai.APIStatusError):
        return Fault("cut", f"the connection failed: {place.words(str(error.__cause__ or error))}")
    status, reason, wait = error.status_code, place.words(_reason(error)), wait_of(error.response.headers)
    if (stop := _stop(status, error.code, reason, place, worked, listing)) is not None:
        raise stop from None
    if (status in NOT_NOW or status >= 500) and not (listing and status in NO_LIST):
        return Fault("busy", f"{status}: {reason}", status, wait)
    return Fault("row", f"{status}: {reason}", status, None, error.param or "")


def _stop(status: int, code: str | None, reason: str, place: Place, worked: bool, listing: bool) -> LlmAugError | None:
    if status == 401 or (status == 403 and not worked):  # later, a 403 is about one text
        return InputError(f"{place.url} refuses the key (status {status}): {place.key_hint}")
    if status == 404 and not listing:
        return Unavailable(f"{place.url} has no model {place.model!r}: {reason}")
    if status == 402 or code == NO_CREDIT:
        return Resumable(f"{place.url} gives no more answers for lack of credit; add some and run again")
    return None


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After-Ms or Retry-After (a number or a date; RFC 9110, section 10.2.3)."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) / scale)
        except (KeyError, ValueError):
            continue
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError):
        return None


def backoff(seed: int, tries: int) -> float:
    """Seconds before the next try: twice as long each time, drawn from the upper half so that rows part."""
    most = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(tries - 1, 20))
    return float(seeds.generator(seed, "retry", tries).uniform(most / 2, most))


def _reason(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, Mapping):
        body = next((body[name] for name in ("message", "detail", "error") if body.get(name)), body)
    return str(body or error.message)
