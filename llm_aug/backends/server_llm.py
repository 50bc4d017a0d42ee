"""The model behind a server: requests made of prompts, and answers read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from llm_aug.backends import Scores
from llm_aug.backends.server_calls import Call, Calls, count_of, only_choice
from llm_aug.backends.server_faults import NO_LIST, BadAnswer, Fault, Place
from llm_aug.backends.server_score import scored
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.errors import InputError, Unavailable
from llm_aug.files import fingerprint
from llm_aug.progress import say
from llm_aug.server_options import ServerOptions

SEEDS = 2**31  # some servers take 32 bits
WEIGHTS = ("root", "parent", "revision", "sha", "digest", "meta")  # of a listed model; `created` is often this moment
FINISHES: Mapping[str, str] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence"), "stop"),
    **dict.fromkeys(("length", "max_tokens"), "length"),
}
# How special tokens are written: a server's template knows its own, and would take them from an item's text.
_SPECIAL = re.compile(r"<[|｜][^\s|｜<>]{1,40}[|｜]>|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>|\[/?INST\]")


class Server:
    """An LLM. revision: of what the server says of its model, and of the fields added to each request.

    A row's answer can be repeated only as far as the server honours `seed`; where it refuses the field, that is said.
    adapter: the model's name where the server lists it as made from another, as vLLM does with LoRA adapters.
    """

    def __init__(
        self, name: str, place: Place, options: ServerOptions, extra: Mapping[str, Any] | None = None, chat: bool = True
    ):
        self.name = name
        self.options = options
        self.extra = dict(extra or {})
        self.chat = chat
        self.calls = Calls(place, options.in_flight, options.timeout)
        listed = _listed(self.calls)
        said = {key: listed[key] for key in WEIGHTS if listed.get(key)} | self.extra
        self.revision = fingerprint(said) if said else ""
        self.adapter = place.model if listed.get("parent") else ""

    @property
    def usage(self) -> dict[str, float]:
        counts, prices = self.calls.usage, self.options
        cost = counts.prompt_tokens * prices.prompt_price + counts.completion_tokens * prices.completion_price
        return {**vars(counts), **({"cost": cost / 1e6} if prices.prompt_price or prices.completion_price else {})}

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Completion]]:
        """A row that the server refuses, or never answers in several tries, fails alone: finish 'error'."""
        rows = enumerate(zip(prompts, seeds, strict=True))
        calls = [self._call(row, prompt, sampling, seed) for row, (prompt, seed) in rows]
        for row, answer in self.calls.run(calls, self._completion) if calls else ():
            yield row, Completion(answer.reason, "error", 0) if isinstance(answer, Fault) else answer

    def restricted(self, lines: Sequence[str], count: int) -> NoReturn:
        raise InputError(
            f"{self.name} cannot be held to a catalogue's titles: servers draw tokens out of our sight; "
            "set constrained: false, or run the model here"
        )

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        """By the log-probabilities of the prompt's own tokens (server-plain), or of the first one's likeliest (chat).

        In a chat each continuation is one token, and NaN where it is not among the twenty likeliest.
        Raises InputError where the server gives no log-probabilities.
        """
        bodies = [self._asked(prompt) for prompt in prompts]
        return scored(self.calls, self.name, bodies, continuations, self.chat)

    def _asked(self, prompt: Prompt) -> dict[str, Any]:
        system, user = (_broken(part) for part in (prompt.system, prompt.user))
        common = {"model": self.calls.place.model, **self.extra}
        if not self.chat:
            return {**common, "prompt": "".join(f"{part}\n\n" for part in (system, user) if part)}
        roles = [("system", system)] * bool(system) + [("user", user)]
        return {**common, "messages": [{"role": role, "content": content} for role, content in roles]}

    def _call(self, row: int, prompt: Prompt, sampling: Sampling, seed: int) -> Call:
        drawn = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": seed % SEEDS,
        }
        path = "/chat/completions" if self.chat else "/completions"
        return Call(row, path, {**drawn, **self._asked(prompt)}, seed)

    def _completion(self, answer: Mapping[str, Any]) -> Completion:
        choice = only_choice(answer)
        if self.chat:
            message = choice.get("message")
            if not isinstance(message, dict):
                raise BadAnswer("the answer holds no message")
            text = message.get("content") or message.get("refusal") or ""
        else:
            text = choice.get("text")
        if not isinstance(text, str):
            raise BadAnswer("the answer holds no text")
        ended = choice.get("finish_reason")
        finish = FINISHES.get(str(ended).lower())
        if finish is None:
            return Completion(f"the server ended the answer for {str(ended)[:40]!r}", "error", 0)
        tokens = count_of(answer.get("usage"), "completion_tokens")
        return Completion(text.strip(), "length" if finish == "length" else "stop", tokens)


def _listed(calls: Calls) -> dict[str, Any]:
    """What the server says of the model, {} where it does not list it.

    Raises Unavailable where nobody answers, or an error that leaves open what it would say: a recipe depends on it.
    """
    place = calls.place
    [(_, answer)] = calls.run([Call(0, "/models", None)], dict)
    if isinstance(answer, Fault):
        if answer.status in NO_LIST:
            return {}
        if not answer.status:
            raise Unavailable(
                f"no server answers at {place.url} ({answer.reason}); start it, or check the address and its /v1"
            )
        raise Unavailable(f"{place.url} does not say which models it has ({answer.reason}); run again when it does")
    models = answer.get("data")
    entries = [entry for entry in models if isinstance(entry, dict)] if isinstance(models, list) else []
    found = next((entry for entry in entries if entry.get("id") == place.model), None)
    if found is None and entries:
        names = ", ".join(str(entry.get("id")) for entry in entries[:5])
        say(f"{place.url} does not list {place.model!r}, but {names}")
    return found or {}


def _broken(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
