"""Answers from a file or a function instead of a model: for tests and for dry runs of a recipe.

{"rules": [{"match": "Toy Story", "answer": ["A toy.", "Another toy."]},
           {"pattern": "Title: (?P<title>.+)", "answer": "A film called \\\\g<title>.", "score": {"yes": -0.1}},
           {"pattern": "slow", "answer": "late", "delay": 0.5, "finish": "length"}]}
The first rule that fits answers. `match` is the whole user text; `pattern` is searched in "system\\n\\nuser" and its
groups may be used in the answer. Of several answers the row's seed chooses one.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from llm_aug.backends import Barred, LoadOptions, Scores
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.errors import InputError
from llm_aug.files import fingerprint, read_json


class Rule(BaseModel):
    """delay: seconds. score: log-probabilities of continuations; one that is not listed is NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: str | None = None
    pattern: re.Pattern[str] | None = None
    answer: str | list[str] = ""
    score: dict[str, float] = {}
    delay: float = 0.0
    finish: Literal["stop", "length", "error"] = "stop"

    @model_validator(mode="after")
    def _one_way_to_fit(self) -> Rule:
        if (self.match is None) == (self.pattern is None):
            raise ValueError("a rule has either 'match' or 'pattern'")
        if self.answer == []:
            raise ValueError("a list of answers is not empty")
        return self

    def fits(self, prompt: Prompt) -> bool:
        if self.pattern is None:
            return prompt.user == self.match
        return self.pattern.search(_whole(prompt)) is not None

    def answer_to(self, prompt: Prompt, seed: int) -> str:
        answer = self.answer if isinstance(self.answer, str) else self.answer[seed % len(self.answer)]
        found = None if self.pattern is None else self.pattern.search(_whole(prompt))
        return answer if found is None else found.expand(answer)


class Script(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: list[Rule]


@dataclass(frozen=True)
class Call:
    method: Literal["complete", "score"]
    rows: int


Answer = Callable[[Prompt, Sampling, int], str | Completion]
Score = Callable[[Prompt, str], float]


class Scripted:
    """An LLM without a model; tokens are words. calls: what it was asked, to tell real work from resumed work."""

    adapter = ""

    def __init__(self, answer: Answer, score: Score, name: str = "scripted", revision: str = ""):
        self.name = name
        self.revision = revision
        self.calls: list[Call] = []
        self._answer = answer
        self._score = score

    @property
    def rows(self) -> int:
        return sum(call.rows for call in self.calls)

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Completion]]:
        for row, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            self.calls.append(Call("complete", 1))
            answer = self._answer(prompt, sampling, seed)
            yield row, answer if isinstance(answer, Completion) else _cut(answer, sampling)

    def restricted(self, lines: Sequence[str], count: int) -> RestrictedScript:
        return RestrictedScript(self, tuple(dict.fromkeys(lines)), count)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        self.calls.append(Call("score", len(prompts)))
        rows = [[self._score(prompt, continuation) for continuation in continuations] for prompt in prompts]
        sums = np.array(rows, dtype=np.float64).reshape(len(prompts), len(continuations))
        return Scores(sums, np.array([len(continuation.split()) for continuation in continuations], dtype=np.int64))


@dataclass(frozen=True)
class RestrictedScript:
    """A script of which those lines are said that may be; where these are too few, the first of the others follow."""

    llm: Scripted
    lines: tuple[str, ...]
    count: int

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int], barred: Barred
    ) -> Iterator[tuple[int, Completion]]:
        endless = replace(sampling, max_tokens=sys.maxsize)
        for row, answer in self.llm.complete(prompts, endless, seeds):
            if answer.finish == "error":
                yield row, answer
                continue
            no = set(barred(row))
            free = dict.fromkeys(line for line in self.lines if line not in no)
            said = dict.fromkeys(line for line in map(str.strip, answer.text.splitlines()) if line in free)
            yield row, _cut("\n".join([*(said | free)][: self.count]), sampling)


def load(name: str, options: LoadOptions) -> Scripted:
    """name: the JSON file. Raises InputError on a file that is no script, or with an adapter."""
    if options.adapter is not None:
        raise InputError(f"scripted:{name} takes no adapter; leave --adapter out")
    content = read_json(Path(name))
    try:
        script = Script.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{name}: {where}: {first['msg']}") from error
    return from_script(script, f"scripted:{name}", fingerprint(content))


def from_script(script: Script, name: str = "scripted", revision: str = "") -> Scripted:
    def rule_for(prompt: Prompt) -> Rule | None:
        return next((rule for rule in script.rules if rule.fits(prompt)), None)

    def answer(prompt: Prompt, sampling: Sampling, seed: int) -> Completion:
        rule = rule_for(prompt)
        if rule is None:
            return Completion("no rule of the script fits this prompt", "error", 0)
        time.sleep(rule.delay)
        said = _cut(rule.answer_to(prompt, seed), sampling)
        return said if rule.finish == "stop" else Completion(said.text, rule.finish, said.n_tokens)

    def score(prompt: Prompt, continuation: str) -> float:
        rule = rule_for(prompt)
        return float("nan") if rule is None else rule.score.get(continuation, float("nan"))

    return Scripted(answer, score, name, revision)


def _cut(answer: str, sampling: Sampling) -> Completion:
    count = len(answer.split())
    if count <= sampling.max_tokens:
        return Completion(answer, "stop", count)
    words = [*re.finditer(r"\S+", answer)]
    return Completion(answer[: words[sampling.max_tokens - 1].end()], "length", sampling.max_tokens)


def _whole(prompt: Prompt) -> str:
    return f"{prompt.system}\n\n{prompt.user}"
