"""A corpus of films of one genre each, two pairs and sixty pieces of a novel."""

from __future__ import annotations

import json
from pathlib import Path

import zstandard

GENRES = ("Western", "Horror", "Comedy", "Drama")


def film(number: int, text: str = "") -> dict:
    """A film of one genre; its text names a director that its attributes do not have."""
    genre = GENRES[number % 4]
    title = f"Story {number}"
    text = text or f"{title} is a {1950 + number} {genre.lower()} film directed by Ann Lee. It tells of a quiet town."
    attributes = {"title": title, "year": 1950 + number, "genres": [genre], "cast": [f"Actor {number % 5}"]}
    return {"text": text, "source": "wikipedia_movies", "kind": "A", "attrs": attributes}


def pair(source: str, before: str, after: str, relation: str = "data2text") -> dict:
    return {"text": after, "source": source, "kind": "B", "input": before, "output": after, "relation": relation}


def prose_row(source: str, text: str) -> dict:
    return {"text": text, "source": source, "kind": "C"}


def write_corpus(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for source in {row["source"] for row in rows}:
        lines = "".join(json.dumps(row) + "\n" for row in rows if row["source"] == source)
        (folder / f"{source}.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    return folder


def small_corpus(folder: Path) -> Path:
    eagle = [
        pair("e2e_nlg", "name[The Eagle], food[Thai]", "The Eagle cooks Thai food by the river."),
        pair("e2e_nlg", "name[The Eagle], food[Thai]", "For a Thai dinner, go to The Eagle."),
    ]
    novel = [prose_row("litbank_fiction", f"The {n} bells rang over the old town, and she slept.") for n in range(60)]
    return write_corpus(folder, [*(film(n) for n in range(300)), *eagle, *novel])
