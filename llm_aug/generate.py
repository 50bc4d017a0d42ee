"""The one loop in which a request becomes a sample: render -> complete -> parse -> stamp; killed, it goes on later.

OUTPUT/answers/*.parquet   what the model said, untouched: a better parser never costs the model's time again
OUTPUT/samples.parquet     what parsed             OUTPUT/rejects.parquet   what did not, with its reason
OUTPUT/manifest.json       the recipe, its fingerprint, versions, counts
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_aug import seeds
from llm_aug.answers import Answers, kept, locked, open_answers, say, write_manifest
from llm_aug.backends import LLM, Restricted
from llm_aug.breaker import Breaker, listed
from llm_aug.data import Completion, Dataset, Origin, Reject, Request, Sample, Sampling
from llm_aug.errors import LlmAugError, ShortOfTarget
from llm_aug.files import write_json
from llm_aug.progress import Meter
from llm_aug.questions import Failure, Outcome, Outcomes, Questions
from llm_aug.results import write_results
from llm_aug.tasks import Measured, Parsed, Rejected, Task, is_held
from llm_aug.watchdog import STALL_SECONDS, Watchdog


@dataclass(frozen=True)
class GenerateOptions:
    """sampling, seed and split_hash are part of the recipe; the rest changes only speed and patience.

    chunk: requests handed to the model in one call. shard_rows, shard_seconds: answers are written after so many rows
    or seconds, whichever is first. attempts: how often a failed request is asked in one run. window, stop_share: the
    run stops when this share of the first `window` answers, or of as many later ones, failed or was rejected.
    stall_seconds: it ends, to be resumed, when no answer came for so long; None waits for ever.
    """

    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    split_hash: str = ""
    chunk: int = 4096
    shard_rows: int = 2048
    shard_seconds: float = 30.0
    attempts: int = 2
    window: int = 50
    stop_share: float = 0.9
    stall_seconds: float | None = STALL_SECONDS


@dataclass(frozen=True)
class GenerateResult:
    """asked = parsed + rejected + failed. reused: answers that were already there. reasons: of rejects and failures."""

    asked: int
    parsed: int
    rejected: int
    failed: int
    reused: int
    reasons: dict[str, int]

    def __str__(self) -> str:
        counts = f"{self.asked} asked = {self.parsed} parsed + {self.rejected} rejected + {self.failed} failed"
        return f"{counts} ({listed(self.reasons)})" if self.reasons else counts


def generate(task: Task, dataset: Dataset, llm: LLM, options: GenerateOptions, output: Path) -> GenerateResult:
    """Asks for what is missing in output, then writes samples and rejects of everything asked.

    Raises ResumeRefused where the folder holds another recipe or another run is writing, ShortOfTarget where nearly
    every answer is bad, Interrupted and Resumable (see `answers.kept`) after what was answered is written.
    """
    config = recipe(task, dataset, llm, options)
    with locked(output):
        answers = open_answers(output, config)
        write_manifest(output, config, state="running")
        requests = Questions(task.name, task.requests(dataset), output)
        asking = _Asking(task, requests, llm, options, answers)
        say(f"{task.name}: {asking.reused}/{len(requests)} done, {len(asking.todo)} to do")
        meter = Meter(task.name, len(requests), asking.reused, output)
        with kept(answers, meter, options.stall_seconds) as watchdog:
            stopped = asking.ask(meter, watchdog)
        result = _write(output, asking, config)
        assert stopped or result.asked == len(requests) + requests.unasked
        if isinstance(task, Measured):
            write_json(output / "metrics.json", task.metrics())
        write_manifest(output, config, state="stopped" if stopped else "done", counts=asdict(result))
    say(f"{task.name}: {result}")
    if stopped:
        raise ShortOfTarget(
            f"{task.name} stopped, {stopped}; answers are kept in {output}, mend the cause and run again"
        )
    if not result.parsed:
        raise ShortOfTarget(f"{task.name}: none of {result.asked} requests became a sample ({listed(result.reasons)})")
    return result


def recipe(task: Task, dataset: Dataset, llm: LLM, options: GenerateOptions) -> dict[str, Any]:
    """All that changes a row, nothing that only changes speed or how many rows there are."""
    return {
        "task": task.name,
        "prompt_hash": task.prompt_hash,
        "model": llm.name,
        "revision": llm.revision,
        "adapter": llm.adapter,
        "sampling": asdict(options.sampling),
        "seed": options.seed,
        "split_hash": options.split_hash,
        "input": dataset_hash(dataset),
        **({"constrained": task.events} if is_held(task) else {}),
    }


def dataset_hash(dataset: Dataset) -> str:
    digest = hashlib.sha256()
    log = dataset.interactions
    for columns, values in ((dataset.columns, dataset.values), (list(log.columns), lambda name: [log[name].tolist()])):
        digest.update(json.dumps([str(name) for name in columns]).encode())
        for column in columns:
            for part in _json_parts(values(column)):
                digest.update(part)
    return digest.hexdigest()[:16]


def _json_parts(parts: Iterable[list[Any]]) -> Iterator[bytes]:
    """The JSON of all parts as one list, a missing value null."""
    mark = "["
    for part in parts:
        column = pd.Series(part, dtype=object)
        if text := json.dumps(column.where(column.notna(), None).tolist(), default=str)[1:-1]:
            yield f"{mark}{text}".encode()
            mark = ", "
    yield b"[]" if mark == "[" else b"]"


class _Asking:
    """The asking and the reading of its answers, each once. todo: numbers of the requests without a good answer."""

    def __init__(self, task: Task, requests: Questions, llm: LLM, options: GenerateOptions, answers: Answers):
        self.task = task
        self.requests = requests
        self.llm = llm
        self.options = options
        self.answers = answers
        self._held: Restricted | None = None
        self.read = Outcomes()
        self.todo = np.arange(len(requests))
        if len(answers):
            good = (answers.good(request.key, request.prompt) for request in requests)
            self.todo = self.todo[~np.fromiter(good, bool, len(requests))]

    @property
    def reused(self) -> int:
        return len(self.requests) - len(self.todo)

    def ask(self, meter: Meter, watchdog: Watchdog) -> str:
        """Asks for every answer that is not good, in rounds. Returns '' or why it stopped early."""
        todo = self.todo
        for attempt in range(self.options.attempts):
            stopped = self._round(todo, meter, watchdog)
            todo = np.array([number for number, _ in self.read.of(Failure)], np.int64)
            if stopped and attempt == 0:
                return stopped
            if stopped or not len(todo):
                break
        if len(todo):
            reasons = Counter(failure.reason for _, failure in self.read.of(Failure))
            say(
                f"{self.task.name}: {len(todo)} requests failed, at most {self.options.attempts} times each, and stay "
                f"failed ({listed(reasons)}); run again to ask them again"
            )
        return ""

    def _round(self, todo: NDArray[np.int64], meter: Meter, watchdog: Watchdog) -> str:
        breaker = Breaker(self.options.window, self.options.stop_share, min(self.options.chunk, len(todo)))
        for numbers in self._calls(todo):
            for number, request, completion in self._answered(numbers):
                watchdog.beat()
                outcome = self._outcome(request, self.answers.add(request.key, request.prompt, completion))
                self.read[number] = outcome
                fault = "" if isinstance(outcome, Parsed) else outcome.reason
                meter.advance(0 if isinstance(outcome, Failure) else 1, completion.n_tokens, fault)
                if self.answers.due(self.options.shard_rows, self.options.shard_seconds):
                    self.answers.write()
                if stopped := breaker.add(fault):
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
        row_seeds = [_seed(self.options.seed, request) for request in requests]
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


def _write(output: Path, asking: _Asking, config: dict[str, Any]) -> GenerateResult:
    """Samples and rejects in the order of the requests, so that the files are the same however often it was stopped."""
    asking.read_earlier()
    requests, read, reasons = asking.requests, asking.read, Counter[str]()

    def rejects() -> Iterator[Reject]:
        for reject in chain(requests.unaskable(), (one for _, one in read.of(Reject))):
            reasons[reject.reason] += 1
            yield reject

    sampling = json.dumps(config["sampling"], sort_keys=True)
    samples = (_stamp(asking.task, requests[n], parsed, config, sampling) for n, parsed in read.of(Parsed))
    parsed, rejected = write_results(output, samples, rejects())
    failures = Counter(failure.reason for _, failure in read.of(Failure))
    result = GenerateResult(
        asked=len(read) + requests.unasked,
        parsed=parsed,
        rejected=rejected,
        failed=failures.total(),
        reused=asking.reused,
        reasons=dict((reasons + failures).most_common()),
    )
    assert result.asked == result.parsed + result.rejected + result.failed, result
    return result


def _seed(seed: int, request: Request) -> int:
    return seeds.derive(seed, "generate", request.key)


def _stamp(task: Task, request: Request, parsed: Parsed, config: dict[str, Any], sampling: str) -> Sample:
    origin = Origin(
        generator=task.name,
        parents=request.parents,
        model=config["model"],
        revision=config["revision"],
        adapter=config["adapter"],
        prompt_hash=task.prompt_hash,
        sampling=sampling,
        seed=_seed(config["seed"], request),
        split_hash=config["split_hash"],
    )
    return Sample(request.key, task.kind, request.subject, parsed.text, parsed.interactions, origin=origin)
