"""Any OpenAI-compatible server as the model: vLLM, SGLang, llama.cpp, `transformers serve`, a provider's.

server:http://localhost:8000/v1#my-model         chat, by the server's own template
server-plain:http://localhost:8000/v1#my-model   plain completion, for a model without one
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llm_aug.backends import LoadOptions
from llm_aug.errors import InputError, Unavailable

if TYPE_CHECKING:
    from llm_aug.backends.server_llm import Server


def load(name: str, options: LoadOptions) -> Server:
    """Asks the server for its models. Raises Unavailable where none answers, InputError for a bad name or key."""
    return _loaded("server", name, options)


def load_plain(name: str, options: LoadOptions) -> Server:
    return _loaded("server-plain", name, options)


def _loaded(scheme: str, name: str, options: LoadOptions) -> Server:
    full = f"{scheme}:{name}"
    if find_spec("openai") is None:
        raise Unavailable(f"{full} needs the extra 'server': pip install 'llm-aug[server]'")
    url, model = place_of(full)
    if options.adapter is not None:
        raise InputError(f"{full} takes no --adapter: load it into the server and ask for it as {url}#ITS-NAME")
    from llm_aug.backends.server_faults import Place
    from llm_aug.backends.server_llm import Server

    variable = options.server.api_key_env
    place = Place(url, model, variable, key_of(variable))
    return Server(full, place, options.server, options.extra, chat=scheme == "server")


def place_of(name: str) -> tuple[str, str]:
    """(URL, model) of `server:URL#model`. Raises InputError for another shape, and for a URL that holds a secret."""
    rest = name.partition(":")[2]
    address, sign, model = rest.partition("#")
    try:
        parts = urlsplit(address)
        secret = parts.username or parts.password or parts.query
        shaped = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1)
    except ValueError:
        secret, shaped = None, False
    if secret:
        raise InputError("a server's URL holds no user and no query: name the key's variable in engine.api_key_env")
    if not shaped or not sign or not model:
        raise InputError(f"{name!r} is no server; write it as in server:http://localhost:8000/v1#MODEL")
    return address.rstrip("/"), model


def key_of(variable: str) -> str:
    """What the environment variable holds. Raises InputError where there is none, or no header can hold its value."""
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not key:
        raise InputError(f"engine.api_key_env names {variable!r}, but no such environment variable is set: export it")
    if not (key.isascii() and key.isprintable()):
        raise InputError(
            f"the environment variable {variable} (engine.api_key_env) is no key: it has more than printable ASCII"
        )
    return key
