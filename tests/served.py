"""A fake server's model, loaded, and what it answers."""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any

from fake_server import FakeServer

from llm_aug.backends import load_llm
from llm_aug.backends.server_llm import Server
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.server_options import ServerOptions

PLAIN = Sampling(0.0, 1.0, 8)


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


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
