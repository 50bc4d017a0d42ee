"""finetune.json, which lies beside an adapter: what it was tuned on; a file without heavy imports.

{"split_hash": "1c2d", "catalogue": "77aa", "model": "builtin:mini", "revision": "3b0e", "steps": 200, ...}
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from llm_aug.data import Split
from llm_aug.files import fingerprint, read_json

FINETUNE_RECORD = "finetune.json"


def catalogue_hash(item_ids: Iterable[str]) -> str:
    """Of the ids, in whatever order: two splits of one log have the same."""
    return fingerprint(sorted(item_ids))


def tuned_on(adapter: Path, split: Split) -> str:
    """'this split', 'split 1c2d (another catalogue)', ... or 'unknown', for an adapter without a record.

    An adapter that was tuned on another split of the same catalogue may have learnt rows that are held out in this one.
    """
    path = adapter / FINETUNE_RECORD
    record = read_json(path) if path.is_file() else {}
    found, catalogue = record.get("split_hash"), record.get("catalogue")
    if not found:
        return "unknown"
    if found == split.hash:
        return "this split"
    if not catalogue:
        return f"split {found}"
    same = catalogue == catalogue_hash(split.items["item_id"])
    words = "of the same catalogue: it may know rows that are held out here" if same else "another catalogue"
    return f"split {found} ({words})"
