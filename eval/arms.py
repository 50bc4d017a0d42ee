"""Arms of an experiment: named sets of samples, read from files, so that any outside method can be one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from llm_aug import seeds
from llm_aug.data import Dataset, Pair, Sample, Split
from llm_aug.errors import InputError
from llm_aug.merge import merge
from llm_aug.seen import SEEN, leak, read_seen
from llm_aug.sources.samples import read_samples

REAL, AGAIN = "real", "a/a"
MOST_HELD_OUT = 0.5  # a good funnel hits a held-out row with about one pair in ten
FEWEST_PAIRS = 20  # of fewer pairs, half may be right by luck


@dataclass(frozen=True)
class Arm:
    """seed_shift: added to the student's seed, so that an A/A arm also shows what another initialisation does."""

    name: str
    samples: Sequence[Sample] = ()
    seed_shift: int = 0

    def pairs(self, split: Split) -> int:
        """How many rows it adds to the real ones: not every review brings its pair."""
        return len(self.merged(split).interactions) - len(split.train)

    @property
    def texts(self) -> int:
        return sum(sample.kind == "description" for sample in self.samples)

    def merged(self, split: Split, weight: float = 1.0) -> Dataset:
        return merge(split.training, self.samples, weight)


def again(split: Split, pairs: int) -> Arm:
    """The A/A arm: real training rows once more, as many as asked for or as there are. Any 'gain' is our fault."""
    draw = seeds.generator(split.seed, "again").permutation(len(split.train))[:pairs]
    rows = split.train.iloc[sorted(draw)]
    samples = [
        Sample(f"again/{n}", "interactions", row.item_id, interactions=(Pair(row.user_id, row.item_id),))
        for n, row in enumerate(rows.itertuples(index=False))
    ]
    return Arm(AGAIN, samples, seed_shift=1000)


def read_arm(name: str, path: Path, split: Split) -> Arm:
    """Samples of a kept.parquet, or of a foreign parquet of pairs or texts.

    Raises InputError where a sample was made from another split (it may have seen this one's test rows) or the record
    beside it (`llm_aug.seen`) holds rows that this split holds out; where one names an item that the catalogue does not
    have; and where more than MOST_HELD_OUT of the pairs are held-out rows: nobody guesses so well. A foreign file says
    nothing of its split and has no record, so the pairs are all that can be checked of it.
    """
    if name in (REAL, AGAIN):
        raise InputError(f"arm {name!r} is made here; give {path} another name")
    file = path / "kept.parquet" if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise InputError(f"arm {name!r}: {path} holds no kept.parquet; `llm-aug filter {path}` makes one of samples")
    samples = read_samples(file)
    strangers = sorted({s.origin.split_hash for s in samples if s.origin.split_hash not in ("", split.hash)})
    if strangers:
        raise InputError(
            f"arm {name!r}: {file} was made from split {strangers[0]}, this one is {split.hash}; its samples may have "
            "seen this split's test rows. Generate from this split"
        )
    seen = read_seen(file)
    if seen is not None and (told := leak(split, seen)):
        raise InputError(
            f"arm {name!r}: by {file.parent / SEEN} it was made from {told}. Fine-tune the adapter, generate and "
            "filter from this split alone"
        )
    known = set(split.items["item_id"])
    unknown = sorted({pair.item_id for sample in samples for pair in sample.interactions or ()} - known)
    if unknown:
        raise InputError(f"arm {name!r}: {file} has {len(unknown)} items that the split does not have: {unknown[0]!r}")
    share = held_out_share(samples, split)
    if share > MOST_HELD_OUT:
        raise InputError(
            f"arm {name!r}: {share:.0%} of the pairs in {file} are validation or test rows of this split; its maker "
            "has seen them. Make pairs from the training rows alone"
        )
    return Arm(name, samples)


def held_out_share(samples: Sequence[Sample], split: Split) -> float:
    """Share of the pairs that are validation or test rows; 0 where there are fewer than FEWEST_PAIRS."""
    held = pd.concat([split.validation, split.test])
    rows = set(zip(held["user_id"], held["item_id"], strict=True))
    pairs = [(pair.user_id, pair.item_id) for sample in samples for pair in sample.interactions or ()]
    return sum(pair in rows for pair in pairs) / len(pairs) if len(pairs) >= FEWEST_PAIRS else 0.0
