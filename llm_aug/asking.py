"""The asking: every request without a good answer goes to the model, and what it says is read.

Round by round: all requests, the failed ones once more; where `tries` allows, the rejected ones with another seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llm_aug import seeds
from llm_aug.answers import Answers, say
from llm_aug.backends import LLM, Restricted
from llm_aug.breaker import Breaker, listed
from llm_aug.data import Completion, Reject, Request, Sampling
from llm_aug.errors import LlmAugError
from llm_aug.progress import Meter
from llm_aug.questions import Failure, Outcome, Outcomes, Questions
from llm_aug.tasks import Parsed, Rejected, Task, is_held
from llm_aug.watchdog import STALL_SECONDS, Watchdog


@dataclass(frozen=True)
class GenerateOptions:
    """sampling, seed and split_hash are part of the recipe; the rest changes only volume, speed and patience.

    tries: how often a request is put at most whose answers are rejected, each time with another seed; the first answer
    that is not counts. chunk: requests handed to the model in one call. shard_rows, shard_seconds: answers are written
    after so many rows or seconds, whichever is first. attempts: how often a failed request is asked in one run.
    window, stop_share: the run stops when this share of the first `window` answers, or of as many later ones, failed
    or was rejected.
    stall_seconds: it ends, to be resumed, when no answer came for so long; None waits for ever.
    """

    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    split_hash: str = ""
    tries: int = 1
    chunk: int = 4096
    shard_rows: int = 2048
    shard_seconds: float = 30.0
    attempts: int = 2
    window: int = 50
    stop_share: float = 0.9
    stall_seconds: float | None = STALL_SECONDS


def key_of(request: Request, turn: int) -> str:
    """Of an answer: the request's own, and another for each time that it is asked again."""
    return f"{request.key}#{turn + 1}" if turn else request.key


class Asking:
    """The asking and the reading of its answers, each once.

    todo: numbers of the requests without a good answer. turns: how often those were asked again that were rejected.
    """

    def __init__(self, task: Task, requests: Questions, llm: LLM, options: GenerateOptions, answers: Answers):
        self.task = task
        self.requests = requests
        self.llm = llm
        self.options = options
        self.answers = answers
        self._held: Restricted | None = None
        self.read = Outcomes()
        self.turns: dict[int, int] = {}
        self.todo = np.arange(len(requests))
        if len(answers):
            good = (answers.good(request.key, request.prompt) for request in requests)
            self.todo = self.todo[~np.fromiter(good, bool, len(requests))]

    @property
    def reused(self) -> int:
        return len(self.requests) - len(self.todo)

    def ask(self, meter: Meter, watchdog: Watchdog) -> str:
        """Asks for every answer that is not good, again where it is rejected. Returns '' or why it stopped early."""
        stopped = self._attempts(self.todo, meter, watchdog)
        for turn in range(1, self.options.tries):
            if stopped:
                return stopped
            if len(todo := self._rejected(turn)):
                again = f"asked again ({turn + 1}/{self.options.tries})"
                say(f"{self.task.name}: {len(todo)} of {len(self.requests)} {again}")
                meter.total += len(todo)
                stopped = self._attempts(todo, meter, watchdog)
        return stopped

    def _rejected(self, turn: int) -> NDArray[np.int64]:
        """Numbers of the rejected ones whose next answer is not there; where it is, from an earlier run, it is read."""
        self.read_earlier()
        todo = []
        for number in [number for number, _ in self.read.of(Reject)]:
            self.turns[number] = turn
            request = self.requests[number]
            answer = self.answers.get(self._key(number, request), request.prompt)
            if answer is None or answer.finish == "error":
                todo.append(number)
            else:
                self.read[number] = self._outcome(request, answer)
        return np.array(todo, np.int64)

    @property
    def again(self) -> int:
        """How many answers there are to requests that were put once more."""
        return sum(
            self.answers.holds(key_of(self.requests[number], turn))
            for number, last in self.turns.items()
            for turn in range(1, last + 1)
        )

    def _failed(self, numbers: NDArray[np.int64]) -> dict[int, str]:
        """Those of the numbers that failed, and why."""
        found = ((number, self.read.get(number)) for number in numbers.tolist())
        return {number: outcome.reason for number, outcome in found if isinstance(outcome, Failure)}

    def _key(self, number: int, request: Request) -> str:
        return key_of(request, self.turns.get(number, 0))

    def seed(self, number: int, request: Request) -> int:
        return seeds.derive(self.options.seed, "generate", self._key(number, request))

    def _attempts(self, todo: NDArray[np.int64], meter: Meter, watchdog: Watchdog) -> str:
        failed: dict[int, str] = {}
        for attempt in range(self.options.attempts):
            stopped = self._round(todo, meter, watchdog)
            failed = self._failed(todo)
            todo = np.array([*failed], np.int64)
            if stopped and attempt == 0:
                return stopped
            if stopped or not failed:
                break
        if failed:
            reasons = Counter(failed.values())
            say(
                f"{self.task.name}: {len(failed)} requests failed, at most {self.options.attempts} times each, and "
                f"stay failed ({listed(reasons)})"
            )
        return ""

    def _round(self, todo: NDArray[np.int64], meter: Meter, watchdog: Watchdog) -> str:
        breaker = Breaker(self.options.window, self.options.stop_share, min(self.options.chunk, len(todo)))
        for numbers in self._calls(todo):
            for number, request, completion in self._answered(numbers):
                watchdog.beat()
                answer = self.answers.add(self._key(number, request), request.prompt, completion)
                outcome = self.read[number] = self._outcome(request, answer)
                fault = "" if isinstance(outcome, Parsed) else outcome.reason
                failed = isinstance(outcome, Failure)
                meter.advance(0 if failed else 1, completion.n_tokens, fault)
                if self.answers.due(self.options.shard_rows, self.options.shard_seconds):
                    self.answers.write()
                # Who is asked again was rejected before: only a model that fails is a reason to stop then.
                if stopped := breaker.add(fault if failed or number not in self.turns else ""):
                    return stopped
        return ""

    def _calls(self, todo: NDArray[np.int64]) -> Iterator[list[int]]:
        """First a sample of `window`, from all over: it tells early, whatever the engine's order, if all is in vain."""
        sample = todo[:: max(1, len(todo) // self.options.window)][: self.options.window]
        for part in (sample, todo[~np.isin(todo, sample)]):
            for start in range(0, len(part), self.options.chunk):
                yield part[start : start + self.options.chunk].tolist()

    def _answered(self, numbers: Sequence[int]) -> Iterator[tuple[int, Request, Completion]]:
        """(number of its request, request, completion) of one call. Raises LlmAugError on a row too many or too few."""
        requests = [self.requests[number] for number in numbers]
        row_seeds = [self.seed(number, request) for number, request in zip(numbers, requests, strict=True)]
        waiting = set(range(len(requests)))
        for row, completion in self._complete(requests, row_seeds):
            if row not in waiting:
                twice = f"twice ({requests[row].key})" if 0 <= row < len(requests) else "that was not asked"
                raise LlmAugError(f"model {self.llm.name} answered row {row} of {len(requests)} prompts {twice}")
            waiting.remove(row)
            yield numbers[row], requests[row], completion
        if waiting:
            row = min(waiting)
            raise LlmAugError(
                f"model {self.llm.name} gave no answer to {len(waiting)} of {len(requests)} prompts, "
                f"the first is row {row} ({requests[row].key})"
            )

    def _complete(self, asked: Sequence[Request], keys: Sequence[int]) -> Iterator[tuple[int, Completion]]:
        prompts, sampling, task = [request.prompt for request in asked], self.options.sampling, self.task
        if not is_held(task):
            return self.llm.complete(prompts, sampling, keys)
        self._held = self._held or self.llm.restricted(task.titles(), task.events)
        return self._held.complete(prompts, sampling, keys, lambda row: task.barred(asked[row]))

    def read_earlier(self) -> None:
        """What an earlier run was told, and this one did not ask again."""
        for number in range(len(self.requests)):
            if number not in self.read:
                request = self.requests[number]
                if answer := self.answers.get(request.key, request.prompt):
                    self.read[number] = self._outcome(request, answer)

    def _outcome(self, request: Request, answer: Completion) -> Outcome:
        if answer.finish == "error":
            return Failure("failed: " + " ".join(answer.text.split())[:200])
        try:
            parsed = self.task.parse(request, answer)
        except Rejected as rejected:
            return Reject(request.subject, self.task.stage, rejected.reason, answer.text)
        if isinstance(parsed, str):
            return Parsed(answer.text if parsed == answer.text else parsed, None)  # one text in memory, not two
        return parsed if isinstance(parsed, Parsed) else Parsed(None, tuple(parsed))
