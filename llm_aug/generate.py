"""The one loop in which a request becomes a sample: render -> complete -> parse -> stamp; killed, it goes on later.

OUTPUT/answers/*.parquet   what the model said, untouched: a better parser never costs the model's time again
OUTPUT/samples.parquet     what parsed             OUTPUT/rejects.parquet   what did not, with its reason
OUTPUT/manifest.json       the recipe, its fingerprint, versions, counts
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llm_aug import seeds
from llm_aug.answers import Answers, locked, open_answers, say, write_manifest
from llm_aug.backends import LLM
from llm_aug.data import Completion, Dataset, Origin, Reject, Request, Sample, Sampling, rejects_table, samples_table
from llm_aug.errors import LlmAugError, ShortOfTarget
from llm_aug.files import write_parquet
from llm_aug.tasks import Rejected, Task


@dataclass(frozen=True)
class GenerateOptions:
    """sampling, seed and split_hash are part of the recipe; the rest changes only speed and patience.

    batch_size: requests handed to the model in one call. shard_rows, shard_seconds: answers are written after so many
    rows or seconds, whichever is first. attempts: how often a failed request is asked in one run.
    window, stop_share: the run stops when this share of the last `window` answers failed or was rejected.
    """

    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    split_hash: str = ""
    batch_size: int = 64
    shard_rows: int = 512
    shard_seconds: float = 30.0
    attempts: int = 2
    window: int = 50
    stop_share: float = 0.9


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
        return f"{counts} ({_listed(self.reasons)})" if self.reasons else counts


def generate(task: Task, dataset: Dataset, llm: LLM, options: GenerateOptions, output: Path) -> GenerateResult:
    """Asks for what is missing in output, then writes samples and rejects of everything asked.

    Raises ResumeRefused where the folder holds another recipe or another run is writing, and ShortOfTarget where
    nearly every answer is bad. An interruption passes through after the answers at hand are written.
    """
    config = recipe(task, dataset, llm, options)
    with locked(output):
        answers = open_answers(output, config)
        write_manifest(output, config, state="running")
        requests, unaskable = _requests(task, dataset)
        reused = sum(_good(answers, request) for request in requests)
        say(f"{task.name}: {reused}/{len(requests)} done, {len(requests) - reused} to do")
        try:
            stopped = _ask_all(task, requests, llm, options, answers)
        finally:
            answers.write()
        asked = [request for request in requests if answers.get(request.key, request.prompt)]
        assert stopped or len(asked) == len(requests)
        samples, rejects, failures = _read_answers(task, asked, answers, config)
        rejects = [*unaskable, *rejects]
        reasons = Counter(reject.reason for reject in rejects) + Counter(failures)
        result = GenerateResult(
            asked=len(asked) + len(unaskable),
            parsed=len(samples),
            rejected=len(rejects),
            failed=len(failures),
            reused=reused,
            reasons=dict(reasons.most_common()),
        )
        assert result.asked == result.parsed + result.rejected + result.failed, result
        write_parquet(output / "samples.parquet", samples_table(samples))
        write_parquet(output / "rejects.parquet", rejects_table(rejects))
        write_manifest(output, config, state="stopped" if stopped else "done", counts=asdict(result))
    say(f"{task.name}: {result}")
    if stopped:
        raise ShortOfTarget(
            f"{task.name} stopped, {stopped}; answers are kept in {output}, mend the cause and run again"
        )
    if not samples:
        raise ShortOfTarget(f"{task.name}: none of {result.asked} requests became a sample ({_listed(result.reasons)})")
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
    }


def dataset_hash(dataset: Dataset) -> str:
    digest = hashlib.sha256()
    for frame in (dataset.items, dataset.interactions):
        digest.update(json.dumps([str(name) for name in frame.columns]).encode())
        for column in frame.columns:
            values = frame[column].astype("object").where(frame[column].notna(), None)
            digest.update(json.dumps(values.tolist(), default=str).encode())
    return digest.hexdigest()[:16]


def _requests(task: Task, dataset: Dataset) -> tuple[list[Request], list[Reject]]:
    requests: list[Request] = []
    unaskable: list[Reject] = []
    for entry in task.requests(dataset):
        if isinstance(entry, Request):
            requests.append(entry)
        else:
            unaskable.append(entry)
    doubled = [key for key, count in Counter(request.key for request in requests).items() if count > 1]
    if doubled:
        raise LlmAugError(f"task {task.name} asks twice under the key {doubled[0]!r}")
    return requests, unaskable


def _good(answers: Answers, request: Request) -> bool:
    answer = answers.get(request.key, request.prompt)
    return answer is not None and answer.finish != "error"


def _ask_all(task: Task, requests: Sequence[Request], llm: LLM, options: GenerateOptions, answers: Answers) -> str:
    """Asks for every answer that is not good, in rounds. Returns '' or why it stopped early."""
    last: deque[str] = deque(maxlen=options.window)
    written = time.monotonic()
    for _ in range(options.attempts):
        todo = [request for request in requests if not _good(answers, request)]
        for start in range(0, len(todo), options.batch_size):
            batch = todo[start : start + options.batch_size]
            for request, completion in zip(batch, _complete(llm, batch, options), strict=True):
                answers.add(request.key, request.prompt, completion)
                last.append(_fault(task, request, completion))
            if answers.unwritten >= options.shard_rows or time.monotonic() - written >= options.shard_seconds:
                answers.write()
                written = time.monotonic()
                say(f"{task.name}: {start + len(batch)}/{len(todo)} answered")
            faults = Counter(fault for fault in last if fault)
            if len(last) == options.window and faults.total() >= options.stop_share * options.window:
                return f"{faults.total()} of the last {options.window} answers were bad ({_listed(faults)})"
    return ""


def _complete(llm: LLM, batch: Sequence[Request], options: GenerateOptions) -> list[Completion]:
    row_seeds = [seeds.derive(options.seed, "generate", request.key) for request in batch]
    found = dict(llm.complete([request.prompt for request in batch], options.sampling, row_seeds))
    if len(found) != len(batch):
        raise LlmAugError(f"model {llm.name} gave {len(found)} answers to {len(batch)} prompts")
    return [found[row] for row in range(len(batch))]


def _fault(task: Task, request: Request, completion: Completion) -> str:
    if completion.finish == "error":
        return _failure(completion)
    try:
        task.parse(request, completion)
    except Rejected as rejected:
        return rejected.reason
    return ""


def _failure(completion: Completion) -> str:
    return "failed: " + " ".join(completion.text.split())[:200]


def _read_answers(
    task: Task, requests: Sequence[Request], answers: Answers, config: dict[str, Any]
) -> tuple[list[Sample], list[Reject], list[str]]:
    """Samples and rejects of answered requests, in their order, and the reason of each failure."""
    samples: list[Sample] = []
    rejects: list[Reject] = []
    failures: list[str] = []
    for request in requests:
        completion = answers.get(request.key, request.prompt)
        assert completion is not None, request.key
        if completion.finish == "error":
            failures.append(_failure(completion))
            continue
        try:
            samples.append(_stamp(task, request, task.parse(request, completion), config))
        except Rejected as rejected:
            rejects.append(Reject(request.subject, task.stage, rejected.reason, completion.text))
    return samples, rejects, failures


def _stamp(task: Task, request: Request, parsed: Any, config: dict[str, Any]) -> Sample:
    origin = Origin(
        generator=task.name,
        parents=request.parents,
        model=config["model"],
        revision=config["revision"],
        adapter=config["adapter"],
        prompt_hash=task.prompt_hash,
        sampling=json.dumps(config["sampling"], sort_keys=True),
        seed=seeds.derive(config["seed"], "generate", request.key),
        split_hash=config["split_hash"],
    )
    content = {"text": parsed} if isinstance(parsed, str) else {"interactions": tuple(parsed)}
    return Sample(request.key, task.kind, request.subject, origin=origin, **content)


def _listed(reasons: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in Counter(reasons).most_common(5))
