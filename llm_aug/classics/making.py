"""A classic's samples as a stage writes them: stamped, counted, checked; killed, nothing of them is there.

OUTPUT/samples.parquet   {"sample_id": "mix/items/7/1", "kind": "interactions", "subject": "1", "weight": 0.61,
                         "interactions": [{"user_id": "7", "item_id": "1"}], "origin": {"generator": "mix/items", ...}}
OUTPUT/rejects.parquet   what could not be made     OUTPUT/metrics.json   the record, as loss curves
OUTPUT/manifest.json     recipe and counts
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from llm_aug.answers import locked, write_manifest
from llm_aug.classics import TEXTS, Classic, Context
from llm_aug.data import Dataset, Pair, Sample
from llm_aug.errors import LlmAugError, ShortOfTarget
from llm_aug.files import write_json
from llm_aug.generate import dataset_hash
from llm_aug.grade import weights
from llm_aug.results import write_results

CHECKPOINTS = ".checkpoints"  # hidden: no part of the result


@dataclass(frozen=True)
class ClassicResult:
    """asked = parsed + rejected + failed, in samples. made, wanted: pairs, or texts."""

    asked: int
    parsed: int
    rejected: int
    made: int
    wanted: int
    failed: int = 0

    def __str__(self) -> str:
        counts = f"{self.asked} asked = {self.parsed} parsed + {self.rejected} rejected + {self.failed} failed"
        return f"{counts}; {self.made} of {self.wanted} wanted"


def write_classic(
    name: str, classic: Classic, dataset: Dataset, context: Context, output: Path, split_hash: str = ""
) -> ClassicResult:
    """Writes the folder. dataset: canonical, see `log.canonical`. Raises ShortOfTarget where no sample was made."""
    config: dict[str, Any] = {
        "generator": name,
        "options": options_of(classic),
        "input": dataset_hash(dataset),
        "volume": context.volume,
        "seed": context.seed,
        "split_hash": split_hash,
    }
    found = classic.make(dataset, context)
    stamp = {"generator": f"{name}/{classic.style}", "seed": context.seed, "split_hash": split_hash}
    samples = [_stamped(sample, stamp) for sample in found.samples]
    rejects = list(found.rejects)
    made = len(samples) if classic.style in TEXTS else sum(len(one.interactions or ()) for one in samples)
    result = ClassicResult(len(samples) + len(rejects), len(samples), len(rejects), made, context.volume)
    if made > context.volume or (made < context.volume and not rejects):
        raise LlmAugError(f"{name}/{classic.style} does not say why it made another number than was wanted: {result}")
    with locked(output):
        write_manifest(output, config, state="running")
        write_results(output, samples, rejects)
        write_json(output / "metrics.json", dict(found.record))
        write_manifest(output, config, state="done", counts=asdict(result))
        shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
    if not samples:
        reasons = Counter(reject.reason for reject in rejects).most_common(1)
        raise ShortOfTarget(f"{name}/{classic.style} made nothing ({reasons[0][0] if reasons else 'none wanted'})")
    return result


def options_of(classic: Classic) -> dict[str, Any]:
    """Every option with its value: what decides on the rows, beside the data, the volume and the seed."""
    return asdict(classic)  # type: ignore[call-overload,no-any-return]


def _stamped(sample: Sample, stamp: dict[str, Any]) -> Sample:
    pairs = sample.interactions or ()
    alone = (sample.subject, pairs[0].user_id) if sample.kind == "interactions" and len(pairs) == 1 else ()
    return replace(sample, origin=replace(sample.origin, **stamp, parents=sample.origin.parents or alone))


def pair_samples(prefix: str, pairs: Iterable[tuple[str, str, float]]) -> list[Sample]:
    """A sample for each (user, item, score), its weight in (0, 1] by the score: see `grade.weights`."""
    rows = list(pairs)
    weight = weights(np.maximum(0.0, np.array([score for _, _, score in rows], dtype=np.float64)))
    return [
        Sample(
            f"{prefix}/{quote(user, safe='')}/{quote(item, safe='')}",
            "interactions",
            item,
            None,
            (Pair(user, item),),
            float(own),
        )
        for (user, item, _), own in zip(rows, weight, strict=True)
    ]
