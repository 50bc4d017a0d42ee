"""What a task would make of a few subjects: prompt, raw answer, sample and the filter's verdict, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from llm_aug import filters
from llm_aug.answers import Answers
from llm_aug.asking import key_of
from llm_aug.config import Recipe
from llm_aug.data import Completion, Dataset, Reject, Request, Sample, Verdict
from llm_aug.encoding import encoder_of
from llm_aug.errors import InputError, ShortOfTarget, did_you_mean
from llm_aug.files import read_json, read_parquet
from llm_aug.filters import Options
from llm_aug.generate import GenerateOptions, generate
from llm_aug.generators import llm_of
from llm_aug.ingredients import filter_options
from llm_aug.splits import read_split
from llm_aug.tables import samples_from
from llm_aug.tasks import TASKS, Rejected, Task, load_task
from llm_aug.vectors import Encoder


def preview(recipe: Recipe, name: str, split: Path, adapter: Path | None, count: int) -> Iterator[str]:
    """What `ask` would make of the first few subjects, in words; nothing is kept."""
    if name not in TASKS:
        raise InputError(f"no task {name!r} to preview; {did_you_mean(name, TASKS)}")
    found, asked = read_split(split), recipe.asked(name)
    task = load_task(name, **{**recipe.task_options(name), "limit": count})
    options = GenerateOptions(asked.sampling, recipe.seed, found.hash, asked.tries)
    encoder = encoder_of(recipe, found.training)
    with TemporaryDirectory(prefix="llm-aug-preview-") as folder:
        with suppress(ShortOfTarget):  # its answers are all the more worth seeing
            generate(task, found.training, llm_of(recipe.model, adapter, recipe.engine), options, Path(folder))
        yield from _shown(task, found.training, Path(folder), encoder, filter_options(recipe), asked.tries)


def _shown(task: Task, dataset: Dataset, folder: Path, encoder: Encoder, options: Options, tries: int) -> Iterator[str]:
    """A block of lines for each request that `generate` answered in the folder, in the order of the requests."""
    answers = Answers(folder / "answers", read_json(folder / "manifest.json")["fingerprint"])
    answers.read()
    samples = samples_from(read_parquet(folder / "samples.parquet"))
    result = filters.run(samples, dataset, encoder, options)
    judged = {s.sample_id: (s, verdict) for s, verdict in zip(result.samples, result.verdicts, strict=True)}
    titles = dict(zip(dataset.items["item_id"], dataset.items["title"], strict=True))
    for request in task.requests(dataset):
        if isinstance(request, Reject):
            yield f"--- {request.subject}: cannot be asked, {request.reason}\n"
            continue
        told = (answers.get(key_of(request, turn), request.prompt) for turn in reversed(range(tries)))
        if answer := next(filter(None, told), None):
            yield _block(task, request, answer, judged, titles)


def _block(
    task: Task,
    request: Request,
    answer: Completion,
    judged: Mapping[str, tuple[Sample, Verdict]],
    titles: Mapping[str, str],
) -> str:
    parts = [
        f"--- {request.key}",
        *(f"[{name}]\n{text}" for name, text in vars(request.prompt).items() if text),
        f"[answer: {answer.finish}, {answer.n_tokens} tokens]\n{answer.text}",
    ]
    if request.key in judged:
        sample, verdict = judged[request.key]
        parts.append(f"[sample: {sample.kind} of {sample.subject}]\n{_content(sample, titles)}")
        parts.append(f"[filter] {_verdict(verdict)}")
    else:
        parts.append(f"[rejected] {_reason(task, request, answer)}")
    return "\n".join(parts) + "\n"


def _content(sample: Sample, titles: Mapping[str, str]) -> str:
    pairs = [f"{pair.user_id} -> {pair.item_id} {titles.get(pair.item_id, '')}" for pair in sample.interactions or ()]
    return "\n".join([*([sample.text] if sample.text else []), *pairs])


def _verdict(verdict: Verdict) -> str:
    score = "" if verdict.score is None else f", score {verdict.score:.3f}"
    nearest = f", nearest {verdict.nearest}" if verdict.nearest else ""
    return ("kept" if verdict.keep else f"dropped: {verdict.reason}") + score + nearest


def _reason(task: Task, request: Request, answer: Completion) -> str:
    if answer.finish == "error":
        return "failed, to be asked again"
    try:
        task.parse(request, answer)
    except Rejected as rejected:
        return rejected.reason
    return "parsed now, but not when it was asked"
