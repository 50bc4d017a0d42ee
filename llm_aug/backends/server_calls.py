"""Many requests to one server at once, each asked again until it is answered or given up: none lost, none doubled."""

from __future__ import annotations

import asyncio
import heapq
import ipaddress
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import openai

from llm_aug.backends.server_faults import BadAnswer, Fault, Place, backoff, fault_of
from llm_aug.backends.server_limit import Limit
from llm_aug.errors import Unavailable
from llm_aug.progress import say

BUSY_TRIES, LOST_TRIES = 12, 5
DOWN_ROWS, PROBE_SECONDS = 5, 30.0  # rows given up without an answer of any kind, until the server itself is tried
TICK = 0.2  # seconds within which an abandoned call ends
NO_KEY = "none"  # local servers want some key and read none
# Fields that some servers refuse, and under which name they may take them: None is to leave the field out.
REFUSABLE: Mapping[str, str | None] = {"seed": None, "max_tokens": "max_completion_tokens"}
MOST_TOKENS = 2**31  # a larger count is no count
NOT_SEEDED = "takes no seed: its answers cannot be repeated"

T = TypeVar("T")


@dataclass
class Call:
    """row: its number among those asked together. path: below the server's URL; body: None to GET. seed: of waits.

    sent: the body as it went out last. without: fields that this call leaves out or renames, to see whether the server
    takes it then. refusal: what the server said before that.
    """

    row: int
    path: str
    body: dict[str, Any] | None
    seed: int = 0
    busy: int = 0
    lost: int = 0
    sent: dict[str, Any] = field(default_factory=dict)
    without: set[str] = field(default_factory=set)
    refusal: Fault | None = None


@dataclass
class Usage:
    """Of all answers: those that were given up, or thrown away by the network, may be on the bill as well."""

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass
class Calls:
    """What is learnt of a server is kept from one `run` to the next: its limit, and what fields it refuses."""

    place: Place
    most: int
    timeout: float
    usage: Usage = field(default_factory=Usage)
    refused: set[str] = field(default_factory=set)
    limit: Limit = field(init=False)
    worked: bool = False

    def __post_init__(self) -> None:
        self.limit = Limit(self.most)

    def run(self, calls: Sequence[Call], read: Callable[[dict[str, Any]], T]) -> Iterator[tuple[int, T | Fault]]:
        """(row, what read makes of its answer, or why it is given up), as they come.

        read: raises BadAnswer for an answer to ask for again.

        Raises a LlmAugError where no row can be answered: InputError without the right to ask, Unavailable where server
        or model is not there.
        """
        work = _Work(self, read)
        thread = threading.Thread(target=work.run, args=(calls,), name="server calls", daemon=True)
        thread.start()
        try:
            while not isinstance(item := work.results.get(), _End):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            work.abandoned.set()
            thread.join(10 * TICK)

    def client(self) -> openai.AsyncOpenAI:
        """Of the system's proxies, none stands between this machine and itself. Whatever the environment has for
        OpenAI (an organization, headers that may hold a key) is not sent to a server that need not be OpenAI's."""
        http = openai.DefaultAsyncHttpxClient(trust_env=not is_loopback(self.place.url))
        key = self.place.key or NO_KEY
        client = openai.AsyncOpenAI(
            base_url=self.place.url, api_key=key, max_retries=0, timeout=self.timeout, http_client=http
        )
        client.organization = client.project = None
        client._custom_headers = {}
        return client

    def body_of(self, call: Call) -> dict[str, Any]:
        """The body as this server takes it."""
        changed = {**(call.body or {})}
        for name in (self.refused | call.without) & changed.keys():
            value, other = changed.pop(name), REFUSABLE[name]
            if other is not None:
                changed[other] = value
        return changed

    def accepted(self, call: Call) -> None:
        """The server took the call as it was changed: so it refuses those fields in every call."""
        for name in call.without - self.refused:
            self.refused.add(name)
            if name == "seed":
                say(f"{self.place.url} {NOT_SEEDED}")


@dataclass(frozen=True)
class _End:
    error: BaseException | None


class _Work(Generic[T]):
    """One `Calls.run`, in a thread with an event loop of its own: a notebook's is at work already."""

    def __init__(self, calls: Calls, read: Callable[[dict[str, Any]], T]):
        self.calls = calls
        self.read = read
        self.results: SimpleQueue[tuple[int, T | Fault] | _End] = SimpleQueue()
        self.abandoned = threading.Event()
        self.todo: deque[Call] = deque()
        self.later: list[tuple[float, int, Call]] = []
        self.running: dict[asyncio.Task[T], tuple[Call, float]] = {}
        self.down = 0

    def run(self, calls: Sequence[Call]) -> None:
        error: BaseException | None = None
        self.todo.extend(calls)
        try:
            asyncio.run(self._drive())
        except BaseException as caught:  # handed to the thread that waits
            error = caught
        self.results.put(_End(error))

    async def _drive(self) -> None:
        async with self.calls.client() as client:
            try:
                while (self.todo or self.later or self.running) and not self.abandoned.is_set():
                    pause = self._start(client)
                    if not self.running:
                        await asyncio.sleep(pause)
                        continue
                    done, _ = await asyncio.wait(self.running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        in_flight = len(self.running)
                        self._settle(*self.running.pop(task), task, in_flight)
                    if self.down >= DOWN_ROWS:
                        await self._doubt(client)
            finally:
                for task in self.running:
                    task.cancel()
                await asyncio.gather(*self.running, return_exceptions=True)

    def _start(self, client: openai.AsyncOpenAI) -> float:
        """Starts what may start. Returns seconds after which more may."""
        now, limit = time.monotonic(), self.calls.limit
        while self.later and self.later[0][0] <= now:
            self.todo.appendleft(heapq.heappop(self.later)[2])
        while self.todo and limit.admits(len(self.running), now):
            call = self.todo.popleft()
            self.running[asyncio.create_task(self._ask(client, call))] = call, now
        waits = [due - now for due in (limit.until, *(entry[0] for entry in self.later[:1])) if due > now]
        return min([TICK, *waits])

    async def _ask(self, client: openai.AsyncOpenAI, call: Call) -> T:
        if call.body is None:
            answer = client.get(call.path, cast_to=str)
        else:
            call.sent = self.calls.body_of(call)
            answer = client.post(call.path, cast_to=str, body=call.sent)
        text = await asyncio.wait_for(answer, self.calls.timeout)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            raise BadAnswer("the answer is no JSON") from None
        if not isinstance(content, dict):
            raise BadAnswer("the answer is no JSON object")
        value = self.read(content)
        if call.body is not None:
            self._count(content.get("usage"))
        return value

    def _count(self, usage: Any) -> None:
        self.calls.usage.requests += 1
        self.calls.usage.prompt_tokens += count_of(usage, "prompt_tokens")
        self.calls.usage.completion_tokens += count_of(usage, "completion_tokens")

    def _settle(self, call: Call, started: float, task: asyncio.Task[T], in_flight: int) -> None:
        error = task.exception()
        if error is None:
            self.calls.worked, self.down = self.calls.worked or call.body is not None, 0
            self.calls.limit.answered(in_flight)
            self.calls.accepted(call)
            self.results.put((call.row, task.result()))
            return
        if isinstance(error, UnicodeError):
            self.results.put((call.row, Fault("row", "the prompt is no valid Unicode")))
            return
        if not isinstance(error, openai.OpenAIError | BadAnswer | TimeoutError):
            raise error
        fault = fault_of(error, self.calls.place, self.calls.worked, listing=call.body is None)
        now = time.monotonic()
        if fault.status or fault.kind == "bad":
            self.down = 0
        if fault.kind in ("busy", "cut"):
            self.calls.limit.refused(started, now, fault.wait)
            if fault.status == 429 and fault.wait is None:
                self.calls.limit.pause(now + backoff(0, self.calls.limit.in_a_row))
        if not self._again(call, fault, now):
            self.down += not fault.status and fault.kind != "bad"
            self.results.put((call.row, call.refusal or fault))

    def _again(self, call: Call, fault: Fault, now: float) -> bool:
        """Puts the call back to be asked again, where that may help."""
        if fault.kind == "row":
            refused = {name for name in REFUSABLE if fault.names(name)} & call.sent.keys()
            if not refused:
                return False
            call.refusal = call.refusal or fault
            call.without |= refused
            self.todo.appendleft(call)
            return True
        call.busy += fault.status > 0
        call.lost += fault.status == 0
        if call.busy >= BUSY_TRIES or call.lost >= LOST_TRIES:
            return False
        self.calls.usage.retries += 1
        wait = backoff(call.seed, call.busy + call.lost) if fault.wait is None else fault.wait
        heapq.heappush(self.later, (now + wait, call.row, call))
        return True

    async def _doubt(self, client: openai.AsyncOpenAI) -> None:
        """Raises Unavailable where the server answers nothing at all; else these rows alone are what it cannot bear."""
        self.down = 0
        try:
            await asyncio.wait_for(client.get("/models", cast_to=str), min(PROBE_SECONDS, self.calls.timeout))
        except openai.APIStatusError:
            return
        except (openai.APIConnectionError, TimeoutError) as error:
            reason = fault_of(error, self.calls.place, worked=True).reason
            raise Unavailable(f"{self.calls.place.url} answers no more ({reason}); start it and run again") from None


def only_choice(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Raises BadAnswer where there are none, or several: nobody could tell whose they are."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        count = len(choices) if isinstance(choices, list) else "no list of"
        raise BadAnswer(f"the answer holds {count} choices where 1 was asked for")
    return choices[0]


def count_of(usage: Any, name: str, unknown: int = 0) -> int:
    """Tokens, as an answer's usage tells them; `unknown` where it does not, or tells what cannot be a count."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count < MOST_TOKENS else unknown


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    return host == "localhost" or host.endswith(".localhost")
