"""Files that are whole or absent, and errors that say how to mend them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_aug.errors import InputError, Resumable
from llm_aug.files import (
    fingerprint,
    read_json,
    read_parquet,
    sha256_file,
    sweep,
    temporary_for,
    write_json,
    write_parquet,
    write_text,
)

TABLE = pa.table({"fruit": ["apple", "pear", "plum"] * 200, "n": list(range(600))})


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "deep" / "er" / "a.parquet", TABLE)
    assert read_parquet(tmp_path / "deep/er/a.parquet").equals(TABLE)
    write_json(tmp_path / "a.json", {"ä": [1, None, "x"]})
    assert read_json(tmp_path / "a.json") == {"ä": [1, None, "x"]}
    assert listed(tmp_path) == ["a.json", "deep"]


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    write_json(tmp_path / "b.json", {"a": 2, "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_holds_no_nan(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"a": number})
    assert listed(tmp_path) == []


class Stop(Exception):
    """Not an OSError: as a kill or a bug in the middle of writing."""


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    write_parquet(tmp_path / "a.parquet", TABLE)

    def half(table: pa.Table, path: Path, **options: object) -> None:
        path.write_bytes(b"PAR1 half")
        raise error

    monkeypatch.setattr(pq, "write_table", half)
    for name in ("a", "b"):
        with pytest.raises(error):
            write_parquet(tmp_path / f"{name}.parquet", TABLE)
    assert listed(tmp_path) == ["a.parquet"]
    assert read_parquet(tmp_path / "a.parquet").equals(TABLE)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_a_full_or_locked_disk_can_be_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Resumable, match=r"cannot write .*a\.txt: .*; free or unlock it and run again") as caught:
        write_text(tmp_path / "a.txt", "apple")
    assert caught.value.exit_code == 75
    assert listed(tmp_path) == []


def test_a_read_only_disk_does_not_hide_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one, even removing a file that is not there fails."""

    def locked(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "write_bytes", locked)
    monkeypatch.setattr(Path, "unlink", locked)
    with pytest.raises(Resumable, match="Read-only file system"):
        write_text(tmp_path / "a.txt", "apple")


LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
import pyarrow as pa
from llm_aug.files import write_parquet

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
write_parquet(Path(sys.argv[1]), pa.table({{"a": list(range(100_000))}}))
"""


def test_arrow_that_can_write_no_further_can_be_mended_too(tmp_path: Path) -> None:
    code = LIMITED.format(root=str(Path(__file__).resolve().parent.parent))
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.parquet")], capture_output=True, text=True)
    assert "Resumable: cannot write" in ended.stderr
    assert "File too large" in ended.stderr
    assert listed(tmp_path) == []


def test_other_errors_pass_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(descriptor: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fsync", odd)
    with pytest.raises(OSError, match="I/O error"):
        write_text(tmp_path / "a.txt", "apple")


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("apple")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.txt", tmp_path / "folder"):
        with pytest.raises(InputError, match=r"cannot write .*; name another place"):
            write_text(path, "pear")
    assert (tmp_path / "file").read_text() == "apple"
    assert listed(tmp_path) == ["file", "folder"]


def test_no_flipped_bit_in_a_page_is_read_as_data(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, TABLE)
    whole = path.read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    caught = 0
    for position in range(4, len(whole) - footer, 11):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(bytes(flipped))
        try:
            assert read_parquet(path).equals(TABLE)  # a bit of a page's header may be one that nobody reads
        except InputError:
            caught += 1
    assert caught > 0.8 * len(range(4, len(whole) - footer, 11))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"no parquet at all, for certain", b"\x00" * 100])
def test_what_is_no_parquet_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet is not a readable parquet file"):
        read_parquet(tmp_path / "a.parquet")


def test_a_torn_parquet_file_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", TABLE)
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable parquet file"):
        read_parquet(tmp_path / "a.parquet")


@pytest.mark.parametrize("read", [read_json, read_parquet])
def test_a_missing_file_is_named(tmp_path: Path, read: object) -> None:
    with pytest.raises(InputError, match=r"nowhere\.x is not there"):
        read(tmp_path / "nowhere.x")


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1} x', b"\xff\xfe", b"[" * 100_000, b"9" * 5000])
def test_what_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json is not readable JSON"):
        read_json(tmp_path / "a.json")


def test_a_folder_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not readable JSON"):
        read_json(tmp_path)


def test_hashes() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1}) != fingerprint({"a": 1, "b": [3]})
    assert fingerprint("7") != fingerprint(7)
    assert len(fingerprint("a lone \ud800 surrogate")) == 16


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert sha256_file(tmp_path / "empty").startswith("e3b0c44298fc1c14")
    (tmp_path / "large").write_bytes(b"x" * (3 << 20))
    assert sha256_file(tmp_path / "large") != sha256_file(tmp_path / "empty")


def test_a_file_is_hashed_again_when_it_has_changed(tmp_path: Path) -> None:
    """Also where it keeps its size and its time, as a copy with its times does."""
    (tmp_path / "a").write_bytes(b"apple")
    (tmp_path / "b").write_bytes(b"maple")
    first = sha256_file(tmp_path / "a")
    os.utime(tmp_path / "b", ns=((at := (tmp_path / "a").stat()).st_atime_ns, at.st_mtime_ns))
    (tmp_path / "b").replace(tmp_path / "a")
    assert sha256_file(tmp_path / "a") != first


def test_a_table_that_did_not_reach_the_disk_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pq.write_table
    monkeypatch.setattr(pq, "write_table", lambda table, path, **_: whole(table.slice(1), path))
    with pytest.raises(Resumable, match="kept less than its 600 rows"):
        write_parquet(tmp_path / "a.parquet", TABLE)
    assert listed(tmp_path) == []


def test_what_killed_writers_left_is_swept(tmp_path: Path) -> None:
    """Only theirs: not files of ours, nor those of another name where one is given."""
    result = tmp_path / "deep" / "a.json"
    write_json(result, {})
    left, folder = temporary_for(result), temporary_for(tmp_path / "adapter [1]")
    left.write_text("torn")
    folder.mkdir()
    (folder / "half").write_text("torn")
    sweep(tmp_path, "adapter")
    assert folder.exists()
    sweep(tmp_path, "adapter [1]")
    assert not folder.exists()
    assert left.exists()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["deep", "a.json"]


def test_a_name_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File name too long; name another place"):
        write_text(tmp_path / ("x" * 300), "apple")


def test_json_files_are_text_for_people(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"title": "Amélie"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == json.dumps(
        {"title": "Amélie"}, indent=1, ensure_ascii=False
    ) + "\n"
