"""Candidate pairs for cold items, and the same for warm items played cold, on which everything later is fitted.

Pseudo-cold: whole warm items are taken out of the log, the spaces are fitted without them, and the funnel proposes
users for them as if they were new. What the log says of those pairs is the label.

One row: {"user_id": "7", "item_id": "1", "preference": -4.1, "label": true}   (label: pseudo-cold only)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from llm_aug import seeds
from llm_aug.data import Dataset, tidy_interactions
from llm_aug.errors import InputError
from llm_aug.files import fingerprint, read_json, read_parquet, write_json, write_parquet
from llm_aug.funnel import Funnel, Space, build, mixed

Spaces = Callable[[Dataset], Sequence[Space]]
MOST_PER_USER = 20
BLENDS = (0.0, 0.15, 0.3, 0.5, 0.75)


@dataclass(frozen=True)
class FunnelOptions:
    """per_item: users that a cold item gets at least; None is the median warm degree. per_user: more cold items that a
    user gets; None is the median degree of a user, at most MOST_PER_USER: nobody gets more than he has brought.

    pool: how many times as many candidates are looked at. pseudo_fraction: share of the warm items played cold.
    """

    per_user: int | None = None
    per_item: int | None = None
    pool: float = 1.5
    pseudo_fraction: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class Candidates:
    """cold, pseudo: candidate rows. hidden: the log without the pseudo-cold items. blend: weight of the second space.

    per_item, per_user: how many of the candidates are to become pairs, see `grade.choose`.
    """

    cold: pd.DataFrame
    pseudo: pd.DataFrame
    hidden: Dataset
    per_item: int
    per_user: int
    blend: float

    @property
    def fingerprint(self) -> str:
        """Of the pairs, their preferences and the volume: what a folder of scores was made for."""
        frames = [frame.to_dict("list") for frame in (self.cold, self.pseudo)]
        return fingerprint([*frames, self.per_item, self.per_user, self.blend])

    def write(self, folder: Path) -> None:
        for name, frame in (("cold", self.cold), ("pseudo", self.pseudo), ("hidden", self.hidden.interactions)):
            write_parquet(folder / f"{name}.parquet", pa.Table.from_pandas(frame, preserve_index=False))
        write_json(folder / "funnel.json", {"per_item": self.per_item, "per_user": self.per_user, "blend": self.blend})


def read_candidates(folder: Path, dataset: Dataset) -> Candidates | None:
    """What `write` left, or None where it is not there or not whole (funnel.json is written last)."""
    if not (folder / "funnel.json").exists():
        return None
    cold, pseudo, hidden = (
        read_parquet(folder / f"{name}.parquet").to_pandas() for name in ("cold", "pseudo", "hidden")
    )
    return Candidates(
        cold, pseudo, replace(dataset, interactions=tidy_interactions(hidden)), **read_json(folder / "funnel.json")
    )


def find_candidates(dataset: Dataset, spaces: Spaces, options: FunnelOptions) -> Candidates:
    """Fits the spaces twice: on the log, and on the log without the pseudo-cold items.

    Raises InputError where no item is cold, too few are warm to play some of them cold, or an option is impossible.
    """
    _check(options)
    warm = np.asarray(dataset.items["item_id"].isin(dataset.interactions["item_id"]))
    if warm.all():
        raise InputError(
            "every item has interactions: there is no cold item to simulate for; split with a cold fraction"
        )
    if warm.sum() < 10:
        raise InputError(f"{warm.sum()} items have interactions, the funnel needs at least 10 to learn from")
    per_item, per_user = volumes(dataset, options)
    options = replace(options, per_item=per_item, per_user=per_user)
    hidden, played = play_cold(dataset, warm, options)
    blend, pseudo = _best_blend(dataset, hidden, played, spaces(hidden), options)
    funnel = make_funnel(dataset, spaces(dataset), blend)
    cold = _pool(funnel, np.flatnonzero(~warm), options)
    return Candidates(cold, pseudo, hidden, per_item, per_user, blend)


def volumes(dataset: Dataset, options: FunnelOptions) -> tuple[int, int]:
    """per_item and per_user as asked for, or as `FunnelOptions` measures them."""
    users, items = (dataset.interactions[name].value_counts() for name in ("user_id", "item_id"))
    per_item = max(1, min(options.per_item or int(items.median()), len(users)))
    return per_item, options.per_user or max(1, min(int(users.median()), MOST_PER_USER))


def _check(options: FunnelOptions) -> None:
    possible = {
        "per_user is at least 1": options.per_user is None or options.per_user >= 1,
        "per_item is at least 1": options.per_item is None or options.per_item >= 1,
        "pool is at least 1": options.pool >= 1,
        "pseudo_fraction lies between 0 and 0.9": 0 < options.pseudo_fraction <= 0.9,
    }
    for rule, kept in possible.items():
        if not kept:
            raise InputError(f"funnel: {rule}, not {getattr(options, rule.split()[0])}")


def make_funnel(dataset: Dataset, spaces: Sequence[Space], blend: float) -> Funnel:
    """First space times 1 - blend, the others times blend; users in sorted order, items in catalogue order."""
    users, items = sorted(dataset.interactions["user_id"].unique()), list(dataset.items["item_id"])
    known = np.asarray(dataset.items["item_id"].isin(dataset.interactions["item_id"]))
    weights = [1 - blend, *(blend for _ in spaces[1:])] if len(spaces) > 1 else [1.0]
    return build(users, items, mixed(spaces, weights), known)


def play_cold(dataset: Dataset, warm: NDArray[np.bool_], options: FunnelOptions) -> tuple[Dataset, NDArray[np.int64]]:
    draw = seeds.generator(options.seed, "pseudo-cold").permutation(np.flatnonzero(warm))
    played = np.sort(draw[: max(2, round(options.pseudo_fraction * len(draw)))])
    out = dataset.interactions["item_id"].isin(dataset.items["item_id"].iloc[played])
    return replace(dataset, interactions=dataset.interactions[~out].reset_index(drop=True)), played


def _pool(funnel: Funnel, targets: NDArray[np.int64], options: FunnelOptions) -> pd.DataFrame:
    assert options.per_item is not None
    assert options.per_user is not None
    per_user, per_item = round(options.pool * options.per_user), round(options.pool * options.per_item)
    return funnel.candidates(targets, per_user, per_item)


def _best_blend(
    dataset: Dataset, hidden: Dataset, played: NDArray[np.int64], spaces: Sequence[Space], options: FunnelOptions
) -> tuple[float, pd.DataFrame]:
    """The blend under which the users' own top lists of pseudo-cold items hold the most true pairs."""
    assert options.per_user is not None
    true = dataset.interactions[["user_id", "item_id"]].drop_duplicates().assign(label=True)
    share = len(played) / max(1, (~dataset.items["item_id"].isin(dataset.interactions["item_id"])).sum())
    sized = replace(options, per_user=max(5, min(len(played), round(options.per_user * min(1.0, share)))))
    best: tuple[float, float, pd.DataFrame] | None = None
    for blend in BLENDS if len(spaces) > 1 else (0.0,):
        pool = _pool(make_funnel(hidden, spaces, blend), played, sized)
        pool = pool.merge(true, on=["user_id", "item_id"], how="left")
        pool["label"] = pool["label"].notna()
        rank = pool.groupby("user_id")["preference"].rank(ascending=False, method="first")
        found = float((pool["label"] / np.log2(rank + 1))[rank <= sized.per_user].sum())
        if best is None or found > best[0]:
            best = (found, blend, pool)
    assert best is not None
    return best[1], best[2]
