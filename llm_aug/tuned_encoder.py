"""tuning.json, which lies beside a tuned encoder: what it has learnt from; a file without heavy imports.

{"split_hash": "1c2d", "catalogue": "77aa", "known": "5e0f", "encoder": "minilm", "items": 2028, "loss_after": 5.9, ...}
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llm_aug.data import Split
from llm_aug.errors import InputError
from llm_aug.files import read_json
from llm_aug.finetune_record import catalogue_hash

TUNING_RECORD = "tuning.json"


def check_encoder(encoder: str, split: Split, known: Callable[[], str] | None = None) -> None:
    """Raises InputError where an encoder of ours was tuned on another split of the same catalogue.

    It may have learnt pairs that are held out here. known: the hash of the log without the pseudo-cold items; with it,
    also where the encoder has learnt from these.
    """
    path = Path(encoder) / TUNING_RECORD
    if not path.is_file():
        return
    record = read_json(path)
    if record["catalogue"] != catalogue_hash(split.items["item_id"]):
        return
    if record["split_hash"] != split.hash:
        raise InputError(
            f"encoder {encoder} was tuned on another split of this catalogue, {record['split_hash']}, and may know "
            "pairs that are held out here; tune one with `llm-aug finetune SPLIT --task encoder`"
        )
    if known is not None and record["known"] != known():
        raise InputError(
            f"encoder {encoder} has learnt from items that the funnel plays cold; tune it with the same seed and "
            "funnel.pseudo_fraction, `llm-aug finetune SPLIT --task encoder --seed ...`"
        )
