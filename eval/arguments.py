"""What stands on a command line, as arms and students: the same words for `llm-aug evaluate` and `eval.cold_start`.

--arm llm=KEPT                     an arm; the same name twice is one arm of both: --arm both=PAIRS --arm both=TEXTS
--student ials:factors=32,alpha=5  a student with some of its options fixed, the others are tuned
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.arms import Arm, again, read_arm
from llm_aug.data import Split
from llm_aug.errors import InputError
from llm_aug.registry import named, typed
from recommender import STUDENTS, USUAL, make_student

Students = dict[str, dict[str, Any]]
ArmPaths = Mapping[str, Sequence[Path]]


def evaluation_parser(module: str, documentation: str | None) -> argparse.ArgumentParser:
    """Of `python -m MODULE`, a program that measures students on the arms of a split and writes a folder."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=(documentation or "").partition("\n")[0])
    parser.add_argument("split", type=Path)
    parser.add_argument(
        "--arm", action="append", default=[], metavar="NAME=KEPT", help="the same name twice is one arm"
    )
    parser.add_argument("--student", action="append", default=[], metavar="NAME[:KEY=VALUE,...]")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--output", type=Path, required=True)
    return parser


def parse_arms(given: Sequence[str]) -> dict[str, list[Path]]:
    """{"llm": [KEPT]} of ["llm=KEPT"]. Raises InputError where a part is missing."""
    found: dict[str, list[Path]] = {}
    for entry in given:
        name, equals, path = entry.partition("=")
        if not (name and equals and path):
            raise InputError(f"arm {entry!r}: write NAME=FOLDER, as in llm=runs/kept")
        found.setdefault(name, []).append(Path(path))
    return found


def parse_students(given: Sequence[str]) -> Students:
    """{"ials": {"factors": 32}} of ["ials:factors=32"], checked; of nothing, the usual ones."""
    found: Students = {}
    for entry in given:
        name, _, options = entry.partition(":")
        if name in found:
            raise InputError(f"student {name!r} is named twice; write one with all of its options")
        found[name] = parse_options([part for part in options.split(",") if part])
    return checked_students(found or {name: {} for name in USUAL})


def parse_options(given: Sequence[str]) -> dict[str, Any]:
    """{"factors": 32, "encoder": "minilm"} of ["factors=32", "encoder=minilm"]."""
    return {name: _value(text) for name, text in parse_pairs(given, "factors=32").items()}


def parse_pairs(given: Sequence[str], example: str) -> dict[str, str]:
    """{"item_id": "asin"} of ["item_id=asin"]. Raises InputError on a part that is missing and on a key named twice."""
    found: dict[str, str] = {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not (name and equals and value):
            raise InputError(f"{entry!r} is not key=value, as in {example}")
        if name in found:
            raise InputError(f"{name!r} is given twice, as {found[name]!r} and as {value!r}")
        found[name] = value
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def checked_students(students: Mapping[str, Mapping[str, Any]]) -> Students:
    """The options in the types that the students declare. Raises InputError for a name or a value that does not fit."""
    if not students:
        raise InputError("no student is named; nothing can be evaluated")
    return {name: _checked(name, dict(options or {})) for name, options in students.items()}


def _checked(name: str, options: dict[str, Any]) -> dict[str, Any]:
    if not options and name in STUDENTS:  # nothing to check, so nothing heavy to import
        return {}
    make_student(name, options)
    checked = typed(f"student {name!r}: ", options, named("student", name, STUDENTS))
    return {option: getattr(checked, option) for option in options}


def read_arms(paths: ArmPaths, split: Split) -> list[Arm]:
    """Every arm, then the A/A arm at the volume of the first arm that has pairs."""
    arms = [
        Arm(name, [sample for path in parts for sample in read_arm(name, path, split).samples])
        for name, parts in paths.items()
    ]
    pairs = next((count for arm in arms if (count := arm.pairs(split))), 0)
    return [*arms, again(split, pairs)]
