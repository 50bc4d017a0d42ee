"""Catalogue and log hygiene: RawDataset -> Dataset, with the file, the line and the reason of every row that went.

One drop: {"file": "interactions.csv", "line": 17, "reason": "impossible_rating", "id": "7 1"}
Bad rows are broken input and are counted against `max_bad_rows`; CHOSEN reasons are what the options asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from llm_aug.clean_values import broken, identifiers, numbers, seconds, texts
from llm_aug.data import ITEM_COLUMNS, Dataset, tidy_interactions, write_dataset
from llm_aug.errors import InputError, did_you_mean
from llm_aug.files import sha256_file, write_json, write_parquet
from llm_aug.sources.raw import RawDataset, RawTable
from llm_aug.spool import Spool
from llm_aug.stored import SpooledDataset
from llm_aug.tidy import REVIEW

REPEATED = ("repeated_item", "repeated_pair")
CHOSEN = {*REPEATED, "item_dropped", "below_min_rating", "item_below_min_count", "user_below_min_count"}
# Keys, links, and what is only known once people have met the item: such columns would hand a cold item its popularity.
NOT_CONTENT = re.compile(
    r"(?:^|_)(?:ids?|source|links?|images?|imgs?|rank|counts?|votes?|popularity|average|reviews?|ratings?)$"
    r"|ur[il]s?$|salesrank$|^also_|^user_tags$",
    re.IGNORECASE,
)
SHOWN_DROPS = 1000


@dataclass(frozen=True)
class CleanOptions:
    """min_item_count, min_user_count: pairs that an item or a user must keep, repeated until stable; items under it
    leave the catalogue too. max_bad_rows: None is one row in a hundred, and at least 10. attributes: None is every
    column that is not NOT_CONTENT.
    """

    min_rating: float | None = None
    min_item_count: int = 0
    min_user_count: int = 0
    max_bad_rows: int | None = None
    attributes: tuple[str, ...] | None = None
    keep_html: bool = False

    def __post_init__(self) -> None:
        for name in ("min_item_count", "min_user_count", "max_bad_rows"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise InputError(f"{name} is {value}; it is a number of rows, 0 or more")


@dataclass(frozen=True)
class CleanResult:
    """dropped: file, line, reason, id. counts: of items and of interactions, read = kept + the sum of dropped.

    repaired: values by repair. left_out: columns of the catalogue that are not among the attributes.
    """

    dataset: Dataset
    dropped: pd.DataFrame
    counts: dict[str, dict[str, Any]]
    repaired: dict[str, int]
    left_out: tuple[str, ...]
    options: CleanOptions
    files: tuple[Path, ...]


class _Sieve:
    """The rows of one file that are still in, and where and why the others went."""

    def __init__(self, table: RawTable, frame: pd.DataFrame, id_columns: list[str]) -> None:
        self.file, self.frame, self.lines, self.id_columns = table.file, frame, table.lines, id_columns
        self.read = len(frame) + len(table.unreadable)
        self._gone = [self._drops([line], reason, [""]) for line, reason in table.unreadable]

    def drop(self, rows: NDArray[np.bool_], reason: str) -> None:
        if not rows.any():
            return
        going = self.frame.loc[rows, self.id_columns]
        self._gone.append(self._drops(self.lines[rows], reason, [_shown(ids) for ids in going.to_numpy()]))
        self.frame, self.lines = self.frame[~rows], self.lines[~rows]

    def _drops(self, lines: Any, reason: str, ids: list[str]) -> pd.DataFrame:
        return pd.DataFrame({"file": self.file, "line": np.asarray(lines, int), "reason": reason, "id": ids})

    @property
    def dropped(self) -> pd.DataFrame:
        nothing = self._drops([], "", [])
        return pd.concat([nothing, *self._gone]).sort_values("line", kind="stable", ignore_index=True)

    def counts(self) -> dict[str, Any]:
        by_reason = Counter(self.dropped["reason"])
        assert self.read == len(self.frame) + sum(by_reason.values()), f"{self.file}: rows vanished"
        return {
            "file": self.file,
            "read": self.read,
            "kept": len(self.frame),
            "dropped": dict(sorted(by_reason.items())),
        }


def clean(raw: RawDataset, options: CleanOptions | None = None, folder: Path | None = None) -> CleanResult:
    """folder: on whose disk the items lie from then on; the system's folder for what is temporary where it is None.

    Raises InputError on a missing column, on too many bad rows, and where no item or no interaction is left.
    """
    options = options or CleanOptions()
    repaired: Counter[str] = Counter()
    attributes = _attributes(raw.items, options)
    _require(raw.items, "item_id")
    ids, tidied = identifiers(raw.items.column("item_id")), Spool(folder or Path(gettempdir()))
    items = _items(raw.items, ids, _texts(raw.items, attributes, options.keep_html, repaired), tidied)
    log = _interactions(raw.interactions, options.keep_html, repaired)
    log.drop(~log.frame["item_id"].isin(set(ids)).to_numpy(), "unknown_item")
    log.drop(~log.frame["item_id"].isin(items.frame["item_id"]).to_numpy(), "item_dropped")
    _choose(items, log, options)
    result = CleanResult(
        dataset=SpooledDataset(
            [*ITEM_COLUMNS, *attributes], tidied, items.frame.index.to_numpy(), tidy_interactions(log.frame)
        ),
        dropped=pd.concat([items.dropped, log.dropped], ignore_index=True),
        counts={"items": items.counts(), "interactions": log.counts()},
        repaired=dict(sorted((+repaired).items())),
        left_out=tuple(name for name in raw.items.columns if name not in (*attributes, *ITEM_COLUMNS)),
        options=options,
        files=raw.files,
    )
    _refuse_bad_input(result)
    return result


def write_clean(folder: Path, result: CleanResult) -> None:
    """items.parquet, interactions.parquet, dropped.parquet (every drop) and clean.json (counts and the first drops)."""
    write_dataset(folder, result.dataset)
    types = [("file", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("id", pa.string())]
    write_parquet(folder / "dropped.parquet", pa.Table.from_pandas(result.dropped, pa.schema(types), False))
    description = {
        "counts": result.counts,
        "repaired": result.repaired,
        "attributes": result.dataset.attributes,
        "left_out": list(result.left_out),
        "options": asdict(result.options),
        "sha256": {path.name: sha256_file(path) for path in result.files},
        "dropped": result.dropped.head(SHOWN_DROPS).to_dict("records"),
    }
    write_json(folder / "clean.json", description)


def _attributes(items: RawTable, options: CleanOptions) -> list[str]:
    columns = [name for name in items.columns if name not in ITEM_COLUMNS]
    if options.attributes is None:
        return [column for column in columns if not NOT_CONTENT.search(column)]
    for name in options.attributes:
        if name not in columns:
            raise InputError(
                f"{items.file} has no column {name!r} to keep as an attribute; {did_you_mean(name, columns)}"
            )
    return list(dict.fromkeys(options.attributes))


def _texts(
    table: RawTable, attributes: list[str], keep_html: bool, repaired: Counter[str]
) -> Iterator[tuple[str, ...]]:
    """Title, description and attributes of each row. Counts what was mended into `repaired`."""
    for part in table.parts({*ITEM_COLUMNS, *attributes}):
        columns = [
            texts(part[name], name, keep_html, repaired) if name in part else repeat("", len(part))
            for name in ("title", "description", *attributes)
        ]
        yield from zip(*columns, strict=True)


def _items(table: RawTable, ids: NDArray[np.object_], values: Iterable[tuple[str, ...]], tidied: Spool) -> _Sieve:
    """Ids that stay, by their row. Every row's id and values go to `tidied`."""
    empty = []
    for item_id, (title, description, *attributes) in zip(ids, values, strict=True):
        tidied.append((item_id, title, description, *attributes))
        empty.append(not title and not description)
    rows = _Sieve(table, pd.DataFrame({"item_id": ids, "empty": empty}), ["item_id"])
    rows.drop((rows.frame["item_id"] == "").to_numpy(), "missing_item_id")
    rows.drop(broken(rows.frame["item_id"]), "broken_item_id")
    rows.drop(rows.frame["item_id"].duplicated(keep="first").to_numpy(), "repeated_item")
    rows.drop(rows.frame["empty"].to_numpy(bool), "empty_text")
    return rows


def _interactions(table: RawTable, keep_html: bool, repaired: Counter[str]) -> _Sieve:
    _require(table, "user_id", "item_id")
    frame = pd.DataFrame({name: identifiers(table.frame[name]) for name in ("user_id", "item_id")}, dtype=object)
    impossible = {}
    for name in ("rating", "weight"):
        if name in table.frame:
            frame[name], impossible[name] = numbers(table.frame[name])
    if "weight" in frame:
        frame["weight"] = frame["weight"].fillna(1.0)
    if "timestamp" in table.frame:
        frame["timestamp"], impossible["time"] = seconds(table.frame["timestamp"], repaired)
    if REVIEW in table.frame:
        frame[REVIEW] = texts(table.frame[REVIEW], REVIEW, keep_html, repaired)
    frame = frame.assign(**{f"impossible_{name}": rows for name, rows in impossible.items()})
    rows = _Sieve(table, frame, ["user_id", "item_id"])
    for name in ("user_id", "item_id"):
        rows.drop((rows.frame[name] == "").to_numpy(), f"missing_{name}")
        rows.drop(broken(rows.frame[name]), f"broken_{name}")
    for name in impossible:
        rows.drop(rows.frame[f"impossible_{name}"].to_numpy(dtype=bool), f"impossible_{name}")
    return rows


def _choose(items: _Sieve, log: _Sieve, options: CleanOptions) -> None:
    """Repeats before the threshold: a pair counts by what the user said last."""
    when = log.frame["timestamp"].fillna(-1).to_numpy(dtype=np.int64) if "timestamp" in log.frame else 0
    order = np.argsort(np.broadcast_to(when, len(log.frame)), kind="stable")
    repeated = np.zeros(len(log.frame), dtype=bool)
    repeated[order] = log.frame[["user_id", "item_id"]].iloc[order].duplicated(keep="last")
    log.drop(repeated, "repeated_pair")
    if options.min_rating is not None:
        if "rating" not in log.frame:
            raise InputError(f"{log.file} has no column 'rating', which min_rating asks for")
        log.drop(log.frame["rating"].isna().to_numpy(), "missing_rating")
        log.drop((log.frame["rating"] < options.min_rating).to_numpy(), "below_min_rating")
    items_under, users_under = _under_count(log.frame, options)
    log.drop(items_under, "item_below_min_count")
    log.drop(users_under[~items_under], "user_below_min_count")
    if options.min_item_count > 0:
        items.drop(~items.frame["item_id"].isin(log.frame["item_id"]).to_numpy(), "item_below_min_count")


def _under_count(log: pd.DataFrame, options: CleanOptions) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows that leave with their item, and with their user; each departure may put another under its count."""
    sides = [
        (pd.factorize(log[name])[0], least, np.zeros(len(log), dtype=bool))
        for name, least in (("item_id", options.min_item_count), ("user_id", options.min_user_count))
    ]
    stay = np.ones(len(log), dtype=bool)
    changed = True
    while changed:
        changed = False
        for codes, least, leaving in sides:
            degree = np.bincount(codes[stay], minlength=codes.max(initial=-1) + 1)
            under = stay & (degree[codes] < least)
            leaving |= under
            stay &= ~under
            changed = changed or bool(under.any())
    return sides[0][2], sides[1][2]


def _require(table: RawTable, *names: str) -> None:
    columns = table.columns
    for name in names:
        if name not in columns:
            raise InputError(
                f"{table.file} has no column {name!r} ({did_you_mean(name, columns)}); "
                f"name the right one with a column mapping such as {name}=THEIRS"
            )


def _refuse_bad_input(result: CleanResult) -> None:
    read = sum(part["read"] for part in result.counts.values())
    bad = result.dropped[~result.dropped["reason"].isin(CHOSEN)]
    allowed = result.options.max_bad_rows
    allowed = max(10, read // 100) if allowed is None else allowed
    if len(bad) > allowed:
        raise InputError(
            f"{len(bad)} of {read} rows are bad and {allowed} are allowed: {_top(bad)}; "
            "mend the files or raise max_bad_rows"
        )
    for name, part in result.counts.items():
        if part["kept"] == 0:
            why = _top(result.dropped[result.dropped["file"] == part["file"]]) if part["read"] else "it has no rows"
            raise InputError(f"no {name} of {part['file']} are left after cleaning: {why}")


def _top(dropped: pd.DataFrame) -> str:
    parts = []
    for (file, reason), rows in sorted(dropped.groupby(["file", "reason"]), key=lambda group: -len(group[1]))[:3]:
        lines = ", ".join(map(str, rows["line"].head(5)))
        parts.append(f"{len(rows)} {reason} ({file} line {lines}{', ...' if len(rows) > 5 else ''})")
    return "; ".join(parts)


def _shown(ids: Any) -> str:
    return " ".join(value[:100] for value in ids)
