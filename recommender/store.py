"""Fitted students on disk: arrays in an npz without pickle, the rest as JSON. Scores stay equal to the bit.

Attributes that begin with _ are scratch and are left out.

MODEL/arrays.npz   every array of the fitted student, in the order of memory it had
MODEL/model.json   {"student": "ials", "model": {"student": "ials", "options": {...}, "state": {...}}, "seen": ..., ...}
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from llm_aug.data import Dataset
from llm_aug.errors import InputError
from llm_aug.files import fingerprint, read_json, write_bytes, write_json
from llm_aug.registry import named
from recommender import STUDENTS, Recommender
from recommender.matrix import Log, to_log

Arrays = dict[str, NDArray[Any]]
PLACES = {place: name for name, place in STUDENTS.items()}


@dataclass(frozen=True)
class Stored:
    """student: its name. seen: the real log, whose pairs are not recommended again. split_hash: of its training."""

    student: str
    model: Recommender
    seen: Log
    split_hash: str


def save(folder: Path, student: str, model: Recommender, dataset: Dataset, split_hash: str = "") -> None:
    """dataset: what the model was fitted on; its synthetic pairs do not count as seen. model.json comes last."""
    real = Dataset(dataset.items, dataset.interactions[~dataset.interactions["is_synthetic"]])
    arrays: Arrays = {}
    packed = _pack(model, "model", arrays)
    seen = _pack(to_log(real), "seen", arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(folder / "arrays.npz", buffer.getvalue())
    description = {"student": student, "model": packed, "seen": seen, "split_hash": split_hash}
    description["arrays"] = _digest(buffer.getvalue())
    write_json(folder / "model.json", {**description, "digest": fingerprint(description)})


def load(folder: Path) -> Stored:
    """Raises InputError where the folder holds no model, or files that are damaged or do not belong together."""
    found = read_json(folder / "model.json")
    digest = found.pop("digest", None) if isinstance(found, dict) else None
    if digest is None or digest != fingerprint(found):
        raise InputError(f"{folder / 'model.json'} is not a model of ours as it was written; train again")
    try:
        data = (folder / "arrays.npz").read_bytes()
        if found["arrays"] != _digest(data):
            raise InputError(f"{folder}: arrays.npz is not the one that model.json was written with; train again")
        with np.load(io.BytesIO(data), allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in opened.files}
        model, seen = _unpack(found["model"], arrays), _unpack(found["seen"], arrays)
        return Stored(found["student"], model, seen, found["split_hash"])
    except (KeyError, TypeError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder} holds no model of ours ({error}); make one with `llm-aug train`") from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _pack(value: Any, name: str, arrays: Arrays) -> Any:
    """A JSON tree; arrays are moved out of it under their path."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        arrays[name] = value
        return {"array": name}
    if isinstance(value, csr_matrix):
        parts = {part: _pack(getattr(value, part), f"{name}.{part}", arrays) for part in ("data", "indices", "indptr")}
        return {"csr": parts, "shape": list(value.shape)}
    if isinstance(value, pd.Index):
        return {"index": [str(entry) for entry in value]}
    if isinstance(value, Log):
        return {
            "log": {part.name: _pack(getattr(value, part.name), f"{name}.{part.name}", arrays) for part in fields(Log)}
        }
    student = PLACES.get(f"{type(value).__module__}:{type(value).__qualname__}")
    if student is None:
        raise TypeError(f"{name} is a {type(value).__name__}, which recommender.store cannot keep")
    options = [field.name for field in fields(value)]
    state = {key: part for key, part in vars(value).items() if key not in options and not key.startswith("_")}
    return {
        "student": student,
        "options": {key: getattr(value, key) for key in options},
        "state": {key: _pack(part, f"{name}.{key}", arrays) for key, part in state.items()},
    }


def _unpack(tree: Mapping[str, Any], arrays: Arrays) -> Any:
    if "array" in tree:
        return arrays[tree["array"]]
    if "csr" in tree:
        parts = {name: _unpack(part, arrays) for name, part in tree["csr"].items()}
        return csr_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(tree["shape"]))
    if "index" in tree:
        return pd.Index(tree["index"])
    if "log" in tree:
        return Log(**{name: _unpack(part, arrays) for name, part in tree["log"].items()})
    model = named("student", tree["student"], STUDENTS)(**tree["options"])
    for name, part in tree["state"].items():
        setattr(model, name, _unpack(part, arrays))
    return model
