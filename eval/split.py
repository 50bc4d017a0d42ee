"""Cuts a dataset into train, validation and test so that cold items, or cold users, have no training row at all.

Strategies: item-random (cold items at random), item-temporal (the newest items are cold, the latest pairs held out),
user-random (cold users at random; of each, the first few rows may be revealed). The first few rows of each cold item or
user may be withheld, for `eval.warm_up` to reveal. Of the pairs that are left, the warm ones, a small part is held out
too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_aug.data import USERS_COLD, Dataset, Split
from llm_aug.errors import InputError, did_you_mean
from llm_aug.seeds import generator
from llm_aug.splits import split_hash

STRATEGIES = ("item-random", "item-temporal", USERS_COLD)
TRAIN, VALIDATION, TEST, REVEALED, WITHHELD = range(5)
MIN_SUBJECTS = 5  # items (or users) with interactions: fewer cannot be shared out over three parts


@dataclass(frozen=True)
class SplitOptions:
    """cold_fraction, validation_cold_fraction: shares of the items (users) that have interactions; the cold ones of
    validation are not those of test, so tuning never sees a test item. warm_fraction, validation_warm_fraction:
    shares of the pairs of the others. revealed: rows of each cold user, the earliest, that training sees. reserved: so
    many of the earliest rows of a cold user or item are never tested, revealed or not, so that more and fewer of them
    can be revealed and the same rows tested; None is `revealed`. A user or item with no row beyond those is not cold,
    and the shares are of the others: cold items of a split with reserved rows are more popular than those of one
    without.
    """

    strategy: str = "item-random"
    cold_fraction: float = 0.2
    validation_cold_fraction: float = 0.05
    warm_fraction: float = 0.1
    validation_warm_fraction: float = 0.025
    revealed: int = 0
    reserved: int | None = None
    seed: int = 0

    @property
    def first_tested(self) -> int:
        """Earliest rows of a cold user or item that are not tested."""
        return self.revealed if self.reserved is None else self.reserved

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise InputError(f"there is no split strategy {self.strategy!r}; {did_you_mean(self.strategy, STRATEGIES)}")
        for field in fields(self):
            if field.name.endswith("fraction") and not 0 <= getattr(self, field.name) < 1:
                raise InputError(f"{field.name} is {getattr(self, field.name)}; a share is at least 0 and less than 1")
        for kind in ("cold", "warm"):
            both = getattr(self, f"{kind}_fraction") + getattr(self, f"validation_{kind}_fraction")
            if both >= 1:
                raise InputError(f"{kind}_fraction and validation_{kind}_fraction sum to {both:g}; leave some to train")
        if not 0 <= self.revealed <= self.first_tested:
            raise InputError(f"revealed is {self.revealed}; it is 0 at least, and at most reserved ({self.reserved})")
        if self.revealed and self.strategy != USERS_COLD:
            raise InputError(
                f"revealed rows are those of cold users, and {self.strategy} leaves items cold; reserve rows instead "
                "(reserved), which `python -m eval.warm_up` reveals"
            )
        if self.cold_fraction + self.warm_fraction == 0:
            raise InputError("cold_fraction and warm_fraction are both 0: nothing is left to test on")


def cut(dataset: Dataset, options: SplitOptions | None = None) -> Split:
    """A partition of the interactions; the same for every order of the input's rows.

    A subject that is not cold keeps at least one training row, and so does its counterpart if it has a warm pair:
    the last one is never held out. Users whose every row is of cold items are cold users of an item split (and items
    of a user split likewise): their rows stay in the part in which the items put them.
    Raises InputError where the data cannot be split as asked.
    """
    options = options or SplitOptions()
    subject = "user_id" if options.strategy == USERS_COLD else "item_id"
    items = dataset.items.sort_values("item_id", ignore_index=True)
    log = dataset.interactions.sort_values(["user_id", "item_id"], ignore_index=True)
    _check(items, log, subject, options)
    random = generator(options.seed, "split", options.strategy)
    part = _cold_parts(log, subject, options, random)
    cold = set(log.loc[part != TRAIN, subject])
    _reveal(part, log, subject, options, random)
    _hold_out_warm(part, log, options, random)
    part[part == REVEALED] = TRAIN
    parts = [log[part == which].reset_index(drop=True) for which in (TRAIN, VALIDATION, TEST, WITHHELD)]
    assert sum(map(len, parts)) == len(dataset.interactions), "a split is a partition"
    train, validation, test, withheld = parts
    if test.empty:
        raise InputError("no pair could be held out for test: every item or user has a single one; ask for cold ones")
    known = pd.concat([validation, test, withheld])
    without = _without_training(known, train, "user_id")
    return Split(
        items=items,
        train=train,
        validation=validation,
        test=test,
        cold_items=_without_training(known, train, "item_id"),
        cold_users=tuple(sorted({*without, *cold})) if subject == "user_id" else without,
        hash=split_hash(items, parts if len(withheld) else parts[:3]),
        strategy=options.strategy,
        seed=options.seed,
        revealed=options.revealed,
        withheld=withheld,
    )


def _check(items: pd.DataFrame, log: pd.DataFrame, subject: str, options: SplitOptions) -> None:
    counts = {name: log[name].nunique() for name in ("item_id", "user_id")}
    for name, found in counts.items():
        least = MIN_SUBJECTS if name == subject else 2
        if found < least:
            noun = name.removesuffix("_id")
            raise InputError(f"{found} {noun}(s) with interactions; a {options.strategy} split needs {least} or more")
    repeated = int(log.duplicated(["user_id", "item_id"]).sum())
    if repeated:
        raise InputError(
            f"{repeated} pairs occur twice and could be on both sides of the split; prepare the data first"
        )
    if items["item_id"].duplicated().any():
        raise InputError("the catalogue names an item twice; prepare the data first")
    unknown = set(log["item_id"]) - set(items["item_id"])
    if unknown:
        raise InputError(f"{len(unknown)} items have interactions but no row in items, e.g. {min(unknown)!r}")
    if log["is_synthetic"].any():
        raise InputError("the interactions hold synthetic rows; a split is cut from real ones only")
    if options.strategy == "item-temporal" and log["timestamp"].isna().any():
        missing = int(log["timestamp"].isna().sum())
        raise InputError(f"{missing} of {len(log)} interactions have no timestamp, which item-temporal goes by")


def _cold_parts(
    log: pd.DataFrame, subject: str, options: SplitOptions, random: np.random.Generator
) -> NDArray[np.int8]:
    """[rows]: the part of each row, all rows of a cold subject in the same one, everything else in TRAIN."""
    counts = log[subject].value_counts()
    enough = counts.index[counts > options.first_tested]
    if options.strategy == "item-temporal":
        first = log[log[subject].isin(enough)].groupby(subject)["timestamp"].min().reset_index()
        subjects = first.sort_values(["timestamp", subject], ascending=False)[subject].to_numpy(dtype=object)
    else:
        subjects = random.permutation(np.array(sorted(enough), dtype=object))
    n_test, n_validation = (_share(subjects, f) for f in (options.cold_fraction, options.validation_cold_fraction))
    if n_test + n_validation >= len(subjects):
        such = f" with more than {options.first_tested} rows" if options.first_tested else ""
        raise InputError(
            f"{len(subjects)} {subject}s{such} are too few to leave warm ones beside the cold; lower the shares"
        )
    part = np.full(len(log), TRAIN, dtype=np.int8)
    part[log[subject].isin(subjects[:n_test]).to_numpy()] = TEST
    part[log[subject].isin(subjects[n_test : n_test + n_validation]).to_numpy()] = VALIDATION
    return part


def _reveal(
    part: NDArray[np.int8], log: pd.DataFrame, subject: str, options: SplitOptions, random: np.random.Generator
) -> None:
    """Moves the earliest rows of each cold subject to REVEALED and WITHHELD; rows without a time in a drawn order."""
    if not options.first_tested:
        return
    rows = np.flatnonzero(part != TRAIN)
    drawn = log.iloc[rows].assign(row=rows, tie=random.permutation(len(rows)))
    ordered = drawn.sort_values([subject, "timestamp", "tie"], na_position="first")
    turn = ordered.groupby(subject).cumcount()
    part[ordered.loc[turn < options.first_tested, "row"]] = WITHHELD
    part[ordered.loc[turn < options.revealed, "row"]] = REVEALED


def _share(subjects: NDArray[Any], fraction: float) -> int:
    return 0 if fraction == 0 else max(1, round(fraction * len(subjects)))


def _hold_out_warm(
    part: NDArray[np.int8], log: pd.DataFrame, options: SplitOptions, random: np.random.Generator
) -> None:
    """Moves rows from TRAIN to TEST and VALIDATION: the latest of all, test after validation, or random ones."""
    warm = np.flatnonzero(part == TRAIN)
    by_time = options.strategy == "item-temporal"
    order = _latest_first(log, warm) if by_time else random.permutation(warm)
    n_test, n_validation = (round(f * len(warm)) for f in (options.warm_fraction, options.validation_warm_fraction))
    held = _removable(log, order, n_test + n_validation)
    border = round(len(held) * n_test / max(n_test + n_validation, 1))
    part[held[:border]], part[held[border:]] = TEST, VALIDATION


def _latest_first(log: pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    times = log["timestamp"].to_numpy(dtype=np.int64)[rows]
    return rows[np.argsort(-times, kind="stable")]


def _removable(log: pd.DataFrame, order: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """The first `wanted` rows in this order that are not the last training row of their item or of their user."""
    users, items = (pd.factorize(log[name])[0] for name in ("user_id", "item_id"))
    left_of_user, left_of_item = np.bincount(users[order]), np.bincount(items[order])
    held: list[int] = []
    for row in order:
        if len(held) == wanted:
            break
        user, item = users[row], items[row]
        if left_of_user[user] > 1 and left_of_item[item] > 1:
            left_of_user[user] -= 1
            left_of_item[item] -= 1
            held.append(row)
    return np.array(held, dtype=np.int64)


def _without_training(held: pd.DataFrame, train: pd.DataFrame, column: str) -> tuple[str, ...]:
    return tuple(sorted(set(held[column]) - set(train[column])))
