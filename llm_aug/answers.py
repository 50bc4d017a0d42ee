"""Raw answers of a run: numbered parquet shards beside the manifest that says which recipe they belong to.

OUTPUT/manifest.json          {"fingerprint": "9c1f...", "config": {...}, "versions": {...}, "state": "done", ...}
OUTPUT/answers/000000.parquet key, prompt, text, finish, n_tokens; schema metadata: fingerprint, digest of the rows
"""

from __future__ import annotations

import platform
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock, Timeout

from llm_aug.data import Completion, Prompt
from llm_aug.errors import InputError, ResumeRefused
from llm_aug.files import fingerprint, read_json, read_parquet, write_json, write_parquet, writing
from llm_aug.progress import Meter
from llm_aug.progress import say as say
from llm_aug.signals import Interrupted, number_of, uninterrupted
from llm_aug.text import encodable
from llm_aug.watchdog import Watchdog

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("prompt", pa.string()),
        ("text", pa.string()),
        ("finish", pa.string()),
        ("n_tokens", pa.int64()),
    ]
)
LOCK = ".lock"
PATIENCE = 0.2  # seconds: `status` holds the lock for a moment to see whether it is free


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """One run at a time: a second one raises ResumeRefused. The lock dies with its process.

    The same thread may take it again, so that a stage can hold it around the generation that does so too.
    """
    lock = FileLock(output.resolve() / LOCK, is_singleton=True)
    try:
        with writing(output):
            output.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=PATIENCE, poll_interval=0.02)
    except Timeout:
        raise ResumeRefused(f"another run is writing {output}; wait for it, or name another folder") from None
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a run is at work in the folder. Where the lock may not be touched, as in another user's folder: yes."""
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK)
    try:
        with lock.acquire(timeout=0):
            return False
    except (Timeout, OSError):
        return True


def prompt_digest(prompt: Prompt) -> str:
    return fingerprint([prompt.system, prompt.user])


class Answers:
    """By request key, the answer to the prompt with this digest; an error is an answer that is asked for again.

    Its methods may be called from several threads: a watchdog writes what a hanging main thread cannot.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.folder = folder
        self.fingerprint = fingerprint
        self._held: dict[str, tuple[str, Completion]] = {}
        self._unwritten: dict[str, None] = {}  # keys, in order
        self._next_shard = 0
        self._written = time.monotonic()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str, prompt: Prompt) -> Completion | None:
        found = self._held.get(key)
        return found[1] if found is not None and found[0] == prompt_digest(prompt) else None

    def holds(self, key: str) -> bool:
        """Whether it has an answer to this key, whatever the prompt was."""
        return key in self._held and self._held[key][1].finish != "error"

    def good(self, key: str, prompt: Prompt) -> bool:
        """Whether there is nothing left to ask."""
        answer = self.get(key, prompt)
        return answer is not None and answer.finish != "error"

    def add(self, key: str, prompt: Prompt, completion: Completion) -> Completion:
        """In memory until `write`. Returns it as it will be read: a lone surrogate, which no parquet file can hold,
        becomes a question mark."""
        kept = Completion(encodable(completion.text), completion.finish, completion.n_tokens)
        with self._lock:
            self._held[key] = prompt_digest(prompt), kept
            self._unwritten[key] = None
        return kept

    def due(self, rows: int, seconds: float) -> bool:
        """Whether so many answers, or some for so long, are in memory alone."""
        waiting = len(self._unwritten)
        return waiting >= rows or (waiting > 0 and time.monotonic() - self._written >= seconds)

    def write(self) -> None:
        with self._lock:
            self._written = time.monotonic()
            if not self._unwritten:
                return
            rows = [self._row(key) for key in self._unwritten]
            table = pa.Table.from_pylist(rows, schema=SCHEMA)
            digest = fingerprint([self.fingerprint, rows])
            table = table.replace_schema_metadata({"fingerprint": self.fingerprint, "digest": digest})
            write_parquet(self.folder / f"{self._next_shard:06d}.parquet", table)
            self._next_shard += 1
            self._unwritten = {}

    def _row(self, key: str) -> dict[str, Any]:
        prompt, answer = self._held[key]
        return {"key": key, "prompt": prompt, **vars(answer)}

    def read(self) -> None:
        """Every shard whose rows still have their digest; any other is named, set aside and asked again."""
        numbers = [
            int(found.group()) for path in self.folder.glob("*.parquet*") if (found := re.match(r"\d+", path.name))
        ]
        self._next_shard = max(numbers, default=-1) + 1
        for path in sorted(self.folder.glob("*.parquet")):
            try:
                table = read_parquet(path)
                rows: list[dict[str, Any]] = table.to_pylist()
            except (InputError, UnicodeDecodeError, pa.ArrowException) as error:
                _set_aside(path, " ".join(str(error).split()))
                continue
            metadata = table.schema.metadata or {}
            mark = metadata.get(b"fingerprint", b"").decode("utf-8", "replace")
            if metadata.get(b"digest") != fingerprint([mark, rows]).encode():
                _set_aside(path, f"{path} does not hold the rows that were written")
            elif mark != self.fingerprint:
                raise ResumeRefused(f"{path} belongs to another recipe; take it out, or name another folder")
            else:
                for row in rows:
                    key, prompt = row.pop("key"), row.pop("prompt")
                    self._held[key] = prompt, Completion(**row)


@contextmanager
def kept(answers: Answers, meter: Meter, stall_seconds: float | None) -> Iterator[Watchdog]:
    """Around the asking: however it ends, what was answered is on disk first.

    Raises Interrupted, which says how far it got, on SIGINT and SIGTERM, and Resumable where nothing is heard for
    stall_seconds.
    """

    def rescue() -> None:
        answers.write()
        meter.close()

    stop: KeyboardInterrupt | None = None
    with meter, Watchdog(meter.stage, meter.told, stall_seconds, rescue) as watchdog:
        try:
            yield watchdog
        except KeyboardInterrupt as error:
            stop = error
        finally:
            with uninterrupted() as caught:
                answers.write()
        if stop is not None or caught:
            raise Interrupted(number_of(stop) if stop else caught[0], f"{meter.stage}: {meter.told()}") from stop


def _set_aside(path: Path, reason: str) -> None:
    path.replace(path.with_name(path.name + ".bad"))
    say(f"{reason}; set aside as {path.name}.bad, its rows are asked again")


def open_answers(output: Path, config: Mapping[str, Any]) -> Answers:
    """The answers that an earlier run of the same recipe left, or none. Raises ResumeRefused for another recipe."""
    manifest = output / "manifest.json"
    mark = fingerprint(config)
    if not manifest.exists():
        if any((output / "answers").glob("*.parquet")):
            raise ResumeRefused(f"{output} holds answers but no manifest.json; name another folder")
        write_manifest(output, config, state="running")
    try:
        found = read_json(manifest)
        old_mark, old_config = found["fingerprint"], found["config"]
    except (InputError, KeyError, TypeError) as error:
        raise ResumeRefused(f"{manifest} is not readable ({error}); name another folder") from None
    if old_mark != fingerprint(old_config):
        raise ResumeRefused(f"{manifest} is not as it was written; name another folder")
    if old_mark != mark:
        names = [name for name in sorted({*config, *old_config}) if config.get(name) != old_config.get(name)]
        changes = "; ".join(f"{name} was {old_config.get(name)!r}, is {config.get(name)!r}" for name in names)
        raise ResumeRefused(f"{output} belongs to another recipe ({changes}); name another folder")
    answers = Answers(output / "answers", mark)
    answers.read()
    return answers


def write_manifest(output: Path, config: Mapping[str, Any], state: str, **rest: Any) -> None:
    """state: running, done, or stopped (by too many bad answers)."""
    value = {"fingerprint": fingerprint(config), "config": config, "versions": _versions(), "state": state, **rest}
    write_json(output / "manifest.json", value)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("llm-aug", "torch", "transformers", "peft", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
