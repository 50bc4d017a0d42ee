"""Writes the facts that `llm-aug demo` runs on: python -m llm_aug.builtin.bundle_movielens SOURCE_FOLDER

SOURCE_FOLDER holds items.parquet and interactions.parquet of MovieLens latest-small with directors and cast joined.
Facts only: no description and no user's tag is bundled, since those are other people's sentences.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa

from llm_aug.files import read_parquet, write_parquet

FOLDER = Path(__file__).resolve().parent / "movielens"
FACTS = ("item_id", "title", "year", "genres", "director", "cast")


def bundle(source: Path, folder: Path = FOLDER) -> None:
    """Writes folder/{items,interactions}.parquet in the form that the `table` source reads."""
    facts = read_parquet(source / "items.parquet").to_pandas()[list(FACTS)]
    facts = facts.assign(year=facts["year"].astype("Int64").astype(object))
    items = {name: [_fact(value) for value in facts[name]] for name in FACTS}
    ratings = read_parquet(source / "interactions.parquet").to_pandas()
    ratings = ratings.sort_values(["user_id", "timestamp", "item_id"], ignore_index=True)
    log = {
        "user_id": pa.array(ratings["user_id"], pa.string()).dictionary_encode(),
        "item_id": pa.array(ratings["item_id"], pa.string()).dictionary_encode(),
        "rating": pa.array(ratings["rating"], pa.float32()),
        "timestamp": pa.array(ratings["timestamp"], pa.int64()),
    }
    write_parquet(folder / "items.parquet", pa.table(items))
    write_parquet(folder / "interactions.parquet", pa.table(log))


def _fact(value: object) -> str:
    """Lists as "A, B"; what is not known is empty."""
    if pd.isna(value) or value == "(no genres listed)":
        return ""
    return str(value).replace("; ", ", ")


if __name__ == "__main__":
    bundle(Path(sys.argv[1]))
