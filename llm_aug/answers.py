"""Raw answers of a run: numbered parquet shards beside the manifest that says which recipe they belong to.

OUTPUT/manifest.json          {"fingerprint": "9c1f...", "config": {...}, "versions": {...}, "state": "done", ...}
OUTPUT/answers/000000.parquet key, prompt, text, finish, n_tokens; schema metadata: fingerprint, digest of the rows
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock, Timeout

from llm_aug.data import Completion, Prompt
from llm_aug.errors import InputError, ResumeRefused
from llm_aug.files import fingerprint, read_json, read_parquet, write_json, write_parquet

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("prompt", pa.string()),
        ("text", pa.string()),
        ("finish", pa.string()),
        ("n_tokens", pa.int64()),
    ]
)


def say(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """One run at a time: a second one raises ResumeRefused. The lock dies with its process."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{output} is a file; name a folder to write to") from None
    lock = FileLock(output / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ResumeRefused(f"another run is writing {output}; wait for it, or name another folder") from None
    try:
        yield
    finally:
        lock.release()


def prompt_digest(prompt: Prompt) -> str:
    return fingerprint([prompt.system, prompt.user])


@dataclass
class Answers:
    """By request key, the answer to the prompt with this digest; an error is an answer that is asked for again."""

    folder: Path
    fingerprint: str
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    next_shard: int = 0
    _unwritten: list[dict[str, Any]] = field(default_factory=list)

    def get(self, key: str, prompt: Prompt) -> Completion | None:
        row = self.rows.get(key)
        if row is None or row["prompt"] != prompt_digest(prompt):
            return None
        return Completion(row["text"], row["finish"], row["n_tokens"])

    def add(self, key: str, prompt: Prompt, completion: Completion) -> None:
        """In memory until `write`. A lone surrogate, which no parquet file can hold, becomes a question mark."""
        text = completion.text.encode("utf-8", "replace").decode("utf-8")
        row: dict[str, Any] = {"key": key, "prompt": prompt_digest(prompt), "text": text}
        row |= {"finish": completion.finish, "n_tokens": completion.n_tokens}
        self.rows[key] = row
        self._unwritten.append(row)

    @property
    def unwritten(self) -> int:
        return len(self._unwritten)

    def write(self) -> None:
        if not self._unwritten:
            return
        table = pa.Table.from_pylist(self._unwritten, schema=SCHEMA)
        digest = fingerprint([self.fingerprint, self._unwritten])
        table = table.replace_schema_metadata({"fingerprint": self.fingerprint, "digest": digest})
        write_parquet(self.folder / f"{self.next_shard:06d}.parquet", table)
        self.next_shard += 1
        self._unwritten = []

    def read(self) -> None:
        """Every shard whose rows still have their digest; any other is named, set aside and asked again."""
        numbers = [
            int(found.group()) for path in self.folder.glob("*.parquet*") if (found := re.match(r"\d+", path.name))
        ]
        self.next_shard = max(numbers, default=-1) + 1
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
                self.rows |= {row["key"]: row for row in rows}


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
