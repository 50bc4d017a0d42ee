"""An OpenAI-compatible server on loopback that misbehaves by script."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "tiny"


@dataclass(frozen=True)
class Refused:
    """An answer with an error status."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    error: Any = "scripted"


@dataclass
class FakeServer:
    """script: by the prompt's user text, what its attempts meet one after the other; past its end the server is good.

    An entry is a Refused, or 'cut' (the connection breaks within the answer), 'drop' (before it), 'silence', 'garbage',
    'list', 'none', 'two' (choices), 'length', 'filter'. models: what /models answers, or what is met there; of a list,
    one after the other. refuses: fields of a body that it answers with 400. busy_above: more requests at once get 429.
    """

    script: dict[str, list[Any]] = field(default_factory=dict)
    models: Any = field(default_factory=lambda: {"data": [{"id": MODEL, "created": 1}]})
    refuses: tuple[str, ...] = ()
    key: str | None = None
    busy_above: int | None = None
    seconds: float = 0.0
    logprobs: bool = True
    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def name(self) -> str:
        return f"server:{self.url}#{MODEL}"

    def texts(self) -> list[str]:
        return [text_of(body) for body in self.asked]

    def next_event(self, body: dict[str, Any]) -> Any:
        for name in self.refuses:
            if name in body:
                return Refused(400, error={"message": f"Unsupported parameter: '{name}'", "param": name})
        waiting = self.script.get(text_of(body))
        return waiting.pop(0) if waiting else "good"


def text_of(body: Mapping[str, Any]) -> str:
    return body["prompt"] if "prompt" in body else body["messages"][-1]["content"]


def answer_to(body: Mapping[str, Any]) -> str:
    return f"{text_of(body)} was answered"


def completion(body: Mapping[str, Any], event: Any, logprobs: bool) -> Any:
    """The JSON of an answer. Its log-probabilities are those of a model that says yes, no, or the length of a word."""
    if event == "list":
        return ["no", "object"]
    finish = {"length": "length", "filter": "content_filter"}.get(event, "stop")
    chat = "messages" in body
    text = f" {answer_to(body)}\n"
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "logprobs": None}
    choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    if body.get("logprobs") and logprobs:
        if chat:
            top = [{"token": "yes", "logprob": -0.5}, {"token": "no", "logprob": -1.5}]
            choice["logprobs"] = {"content": [{"token": "yes", "logprob": -0.5, "top_logprobs": top}]}
        else:
            tokens = [*body["prompt"], "!"]  # characters
            values = [None, *(-float(ord(token)) / 100 for token in tokens[1:])]
            choice["logprobs"] = {"tokens": tokens, "token_logprobs": values}
    choices = {"none": [], "two": [choice, choice]}.get(event, [choice])
    return {"choices": choices, "usage": {"prompt_tokens": 10, "completion_tokens": body["max_tokens"] if chat else 1}}


@contextmanager
def serving(**options: Any) -> Iterator[FakeServer]:
    fake = FakeServer(**options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            fake.headers.append(dict(self.headers))
            if self.locked_out():
                return
            listed = fake.models.pop(0) if isinstance(fake.models, list) else fake.models
            if isinstance(listed, Refused | str):
                self.meet(listed, {})
            else:
                self.send(200, json.dumps(listed))

        def do_POST(self) -> None:
            fake.headers.append(dict(self.headers))
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with fake.lock:
                fake.asked.append(body)
                fake.times.append(time.monotonic())
                fake.at_once += 1
                fake.most_at_once = max(fake.most_at_once, fake.at_once)
                busy = fake.busy_above is not None and fake.at_once > fake.busy_above
                event = Refused(429) if busy else fake.next_event(body)
            try:
                if not self.locked_out():
                    self.meet(event, body)
            finally:
                with fake.lock:
                    fake.at_once -= 1

        def locked_out(self) -> bool:
            given = self.headers["Authorization"]
            if fake.key is None or given == f"Bearer {fake.key}":
                return False
            self.refuse(Refused(401, error={"message": f"Incorrect API key provided: {given}"}))
            return True

        def meet(self, event: Any, body: dict[str, Any]) -> None:
            time.sleep(fake.seconds)
            if isinstance(event, Refused):
                self.refuse(event)
            elif event == "silence":
                fake.ended.wait(20)
                self.close_connection = True
            elif event == "cut":
                self.send(200, '{"choices": [', length=1000)
                self.close_connection = True
            elif event == "drop":
                self.close_connection = True
            elif event == "garbage":
                self.send(200, '{"choices": [oops')
            else:
                self.send(200, json.dumps(completion(body, event, fake.logprobs)))

        def refuse(self, refused: Refused) -> None:
            self.send(refused.status, json.dumps({"error": refused.error}), **refused.headers)

        def send(self, status: int, text: str, length: int | None = None, **headers: str) -> None:
            data = text.encode()
            self.send_response(status)
            lines = {"Content-Type": "application/json", "Content-Length": str(length or len(data)), **headers}
            for name, value in lines.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None: ...

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, *args: Any) -> None: ...

    http = Quiet(("127.0.0.1", 0), Handler)
    fake.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.ended.set()
        http.shutdown()
        http.server_close()
        thread.join()
