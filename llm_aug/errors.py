"""Errors that a user can mend, each with the exit code the command line ends in.

LlmAugError            1  (a bug, unless a subclass says otherwise)
|-- InputError         2  bad configuration or bad input
|-- ShortOfTarget      3  fewer rows than asked, or a gate failed
|-- ResumeRefused      4  the output folder belongs to another recipe or another run
|-- Unavailable        5  a model, an encoder, an extra or a dataset is not there
`-- Resumable         75  disk full, read-only folder, memory: mend it and run again
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LlmAugError(Exception):
    exit_code = 1


class InputError(LlmAugError):
    exit_code = 2


class ShortOfTarget(LlmAugError):
    exit_code = 3


class ResumeRefused(LlmAugError):
    exit_code = 4


class Unavailable(LlmAugError):
    exit_code = 5


class Resumable(LlmAugError):
    exit_code = 75


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause to end an error about an unknown name: the nearest known one, or all of them."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
