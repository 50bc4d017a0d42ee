"""The one loop in which a request becomes a sample: render -> complete -> parse -> stamp; killed, it goes on later.

OUTPUT/answers/*.parquet   what the model said, untouched: a better parser never costs the model's time again
OUTPUT/samples.parquet     what parsed             OUTPUT/rejects.parquet   what did not, with its reason
OUTPUT/manifest.json       the recipe, its fingerprint, versions, counts
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from llm_aug.answers import kept, locked, open_answers, say, write_manifest
from llm_aug.asking import Asking
from llm_aug.asking import GenerateOptions as GenerateOptions
from llm_aug.backends import LLM
from llm_aug.breaker import listed
from llm_aug.data import Dataset, Origin, Reject, Sample
from llm_aug.errors import ShortOfTarget
from llm_aug.files import write_json
from llm_aug.progress import Meter
from llm_aug.questions import Failure, Questions
from llm_aug.results import write_results
from llm_aug.tasks import Measured, Parsed, Task, is_held


@dataclass(frozen=True)
class GenerateResult:
    """asked = parsed + rejected + failed. reused: answers that were already there. reasons: of rejects and failures.

    again: answers to requests that were put once more, after a reject.
    """

    asked: int
    parsed: int
    rejected: int
    failed: int
    reused: int
    again: int
    reasons: dict[str, int]

    def __str__(self) -> str:
        counts = f"{self.asked} asked = {self.parsed} parsed + {self.rejected} rejected + {self.failed} failed"
        counts += f", {self.again} asked again" if self.again else ""
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
        asking = Asking(task, requests, llm, options, answers)
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


def _write(output: Path, asking: Asking, config: dict[str, Any]) -> GenerateResult:
    """Samples and rejects in the order of the requests, so that the files are the same however often it was stopped."""
    asking.read_earlier()
    requests, read, reasons = asking.requests, asking.read, Counter[str]()

    def rejects() -> Iterator[Reject]:
        for reject in chain(requests.unaskable(), (one for _, one in read.of(Reject))):
            reasons[reject.reason] += 1
            yield reject

    sampling = json.dumps(config["sampling"], sort_keys=True)
    samples = (_stamp(asking, number, parsed, config, sampling) for number, parsed in read.of(Parsed))
    parsed, rejected = write_results(output, samples, rejects())
    failures = Counter(failure.reason for _, failure in read.of(Failure))
    result = GenerateResult(
        asked=len(read) + requests.unasked,
        parsed=parsed,
        rejected=rejected,
        failed=failures.total(),
        reused=asking.reused,
        again=asking.again,
        reasons=dict((reasons + failures).most_common()),
    )
    assert result.asked == result.parsed + result.rejected + result.failed, result
    return result


def _stamp(asking: Asking, number: int, parsed: Parsed, config: dict[str, Any], sampling: str) -> Sample:
    task, request = asking.task, asking.requests[number]
    origin = Origin(
        generator=task.name,
        parents=request.parents,
        model=config["model"],
        revision=config["revision"],
        adapter=config["adapter"],
        prompt_hash=task.prompt_hash,
        sampling=sampling,
        seed=asking.seed(number, request),
        split_hash=config["split_hash"],
    )
    return Sample(request.key, task.kind, request.subject, parsed.text, parsed.interactions, origin=origin)
