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


class Spool:
    """In memory 8 bytes each. folder: on whose disk the file lies, without a name; it is made when there is a value.

    Several threads may use it. Raises what `files.writing` does where the disk takes no more.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: BinaryIO | None = None
        self._ends = array("q", [0])
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, value: Any) -> int:
        """Returns its number."""
        rest = memoryview(json.dumps(value, separators=(",", ":"), default=_plain).encode())
        with self._lock, writing(self.folder):
            file, end = self._opened(), self._ends[-1] + len(rest)
            file.seek(self._ends[-1])
            while rest:
                rest = rest[file.write(rest) :]
            self._ends.append(end)
            return len(self) - 1

    def __getitem__(self, number: int) -> Any:
        """Raises IndexError where there is none."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        with self._lock:
            file = self._opened()
            start, end = self._ends[number], self._ends[number + 1]
            file.seek(start)
            data = file.read(end - start)
        return json.loads(data)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        return self._file


def _plain(value: np.generic) -> Any:
    return value.item()
