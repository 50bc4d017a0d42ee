"""What a run has to look up again and cannot hold: JSON values by number, in a file that ends with its process."""

from __future__ import annotations

import json
import tempfile
import threading
import weakref
from array import array
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from llm_aug.files import writing

TAIL_BYTES = 1 << 20  # of the newest values, which are not in the file yet


class Spool:
    """In memory 8 bytes each, and the newest. folder: on whose disk the file lies, without a name, once there is one.

    Several threads may use it. Raises what `files.writing` does where the disk takes no more.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: BinaryIO | None = None
        self._written, self._tail = 0, bytearray()
        self._ends = array("q", [0])
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, value: Any) -> int:
        """Returns its number."""
        data = _encoder.encode(value).encode()
        with self._lock:
            self._tail += data
            self._ends.append(self._ends[-1] + len(data))
            if len(self._tail) >= TAIL_BYTES:
                self._write()
            return len(self) - 1

    def __getitem__(self, number: int) -> Any:
        """Raises IndexError where there is none."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        with self._lock:
            start, end = self._ends[number], self._ends[number + 1]
            if start >= self._written:
                data = bytes(self._tail[start - self._written : end - self._written])
            else:
                assert self._file is not None
                self._file.seek(start)
                data = self._file.read(end - start)
        return json.loads(data.decode())

    def _write(self) -> None:
        with writing(self.folder):
            if self._file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115
                weakref.finalize(self, self._file.close)
            self._file.seek(self._written)
            while self._tail:
                done = self._file.write(self._tail)
                self._written += done
                del self._tail[:done]


def _plain(value: np.generic) -> Any:
    return value.item()


_encoder = json.JSONEncoder(separators=(",", ":"), default=_plain)
