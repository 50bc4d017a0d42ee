from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from llm_aug import sources
from llm_aug.builtin import bundle_movielens
from llm_aug.clean import clean


def test_bundled_movielens_facts_are_clean_and_hold_no_sentences() -> None:
    folder = bundle_movielens.FOLDER
    result = clean(sources.read(folder))
    assert (len(result.dataset.items), len(result.dataset.interactions)) == (9742, 100836)
    assert (len(result.dropped), result.repaired) == (0, {})
    assert result.dataset.attributes == ["year", "genres", "director", "cast"]
    assert set(result.dataset.items["description"]) == {""}
    assert "Harper" in (folder / "TERMS.md").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000


def test_bundle_keeps_facts_only(tmp_path: Path) -> None:
    item = {"item_id": "1", "title": "Heat", "year": 1995.0, "genres": "(no genres listed)", "director": None}
    item |= {"cast": "Al Pacino; Robert De Niro", "description": "A sentence.", "user_tags": "tense"}
    log = [{"user_id": "7", "item_id": "1", "rating": 4.5, "timestamp": 9}]
    pq.write_table(pa.Table.from_pylist([item]), tmp_path / "items.parquet")
    pq.write_table(pa.Table.from_pylist(log), tmp_path / "interactions.parquet")
    bundle_movielens.bundle(tmp_path, tmp_path / "out")
    raw = sources.read(tmp_path / "out")
    facts = {"item_id": "1", "title": "Heat", "year": "1995", "genres": "", "director": ""}
    assert raw.items.frame.to_dict("records") == [{**facts, "cast": "Al Pacino, Robert De Niro"}]
    assert raw.interactions.frame.to_dict("records") == log
