"""What a stage's folder has cost so far, over all its runs, beside what it bought.

OUTPUT/usage.json  {"requests": 345, "retries": 2, "prompt_tokens": 41022, "completion_tokens": 20811, "cost": 0.05}
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llm_aug.backends import LLM, spent
from llm_aug.errors import InputError, Resumable
from llm_aug.files import read_json, write_json
from llm_aug.progress import say

FILE = "usage.json"


@contextmanager
def metered(output: Path, llm: LLM | None) -> Iterator[dict[str, float]]:
    """Around the asking. Gives the folder's counts, which have this run's when it ends, however it ends but by a kill.

    Empty for a model that counts nothing. Raises InputError where the file holds no counts.
    """
    total, before = _earlier(output / FILE), spent(llm)
    try:
        yield total
    finally:
        for name, count in spent(llm, before).items():
            total[name] = total.get(name, 0) + count
        if any(total.values()):
            say(f"{output}: spent so far: {', '.join(f'{name} {count:,.9g}' for name, count in total.items())}")
            with suppress(Resumable):  # a disk that is full must not hide why the asking ended
                write_json(output / FILE, total)


def _earlier(path: Path) -> dict[str, float]:
    found = read_json(path) if path.is_file() else {}
    if not isinstance(found, dict) or not all(type(count) in (int, float) for count in found.values()):
        raise InputError(f"{path} holds no counts; mend it, or remove it to count from now on")
    return found
