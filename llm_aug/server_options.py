"""How to talk to a server that runs the model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerOptions:
    """api_key_env: the name of the environment variable with the key, '' where none is needed.

    in_flight: requests at once at most. timeout: seconds for one. Prices are of a million tokens, in any currency.
    """

    api_key_env: str = ""
    in_flight: int = 64
    timeout: float = 120.0
    prompt_price: float = 0.0
    completion_price: float = 0.0
