"""A tiny shop on disk: 30 items in three genres, 20 users who like one of them, and a scripted model that knows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GENRES = {
    "space": ["rocket", "orbit", "laser", "comet", "alien"],
    "kitchen": ["oven", "spoon", "flour", "butter", "pepper"],
    "forest": ["moss", "fern", "owl", "bark", "acorn"],
}


def items() -> list[dict[str, Any]]:
    """a00 rocket orbit 0 (space), a01 oven spoon 1 (kitchen), a02 moss fern 2 (forest), a03 orbit laser 3, ..."""
    rows = []
    for number in range(30):
        genre = list(GENRES)[number % 3]
        words = GENRES[genre]
        first, second = words[number // 3 % 5], words[(number // 3 + 1 + number // 15) % 5]
        about = f"A story of {first} and {second}, told for the friends of {genre}."
        rows.append(
            {"asin": f"a{number:02}", "title": f"{first} {second} {number}", "genre": genre, "description": about}
        )
    return rows


def interactions() -> list[dict[str, Any]]:
    """User u00 likes space, u01 kitchen, u02 forest, u03 space, ...: seven or so of the ten, and one thing besides."""
    rows = []
    for user in range(20):
        for number in range(30):
            liked = number % 3 == user % 3 and (number + user) % 10 < 7
            if liked or number == (7 * user + 1) % 30:
                row = {"user_id": f"u{user:02}", "asin": f"a{number:02}", "rating": 5 if liked else 4}
                rows.append({**row, "timestamp": 1_600_000_000 + 1000 * user + number})
    return [*rows, {"user_id": "u00", "asin": "a02", "rating": 1, "timestamp": 1_500_000_000}]


def write_source(folder: Path) -> Path:
    """items.csv and interactions.csv, with 'asin' where we say item_id; one rating is below 2."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("items", items()), ("interactions", interactions())):
        lines = [",".join(rows[0]), *(",".join(f'"{value}"' for value in row.values()) for row in rows)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def script(**changes: Any) -> dict[str, Any]:
    """Yes where the new item's genre is among those liked; a description that stays with the facts."""
    judge = [
        {"pattern": f"(?s)Liked:.*\\. {genre}.*New:.*\\. {genre}", "score": {"yes": -0.2, "no": -1.8}}
        for genre in GENRES
    ]
    text = {
        "pattern": "Title: (?P<title>.+)\\nGenre: (?P<genre>.+)",
        "answer": "The tale of \\g<title> belongs to \\g<genre> and to all who care for \\g<genre>.",
        **changes,
    }
    return {"rules": [*judge, {"pattern": "New:", "score": {"yes": -1.8, "no": -0.2}}, text]}


def write_script(path: Path, **changes: Any) -> str:
    """The model's name. changes: of the rule that writes descriptions, as in finish='error'."""
    path.write_text(json.dumps(script(**changes)), encoding="utf-8")
    return f"scripted:{path}"


RECIPE = """
data:
  source: source
  columns: {{item_id: asin}}
clean:
  min_rating: 2
split:
  cold_fraction: 0.2
model: {model}
encoder: hash:64
funnel:
  per_user: 3
finetune: null
rewrite:
  limit: 8
arms: [funnel, llm, llm+rewrite]
evaluate:
  students:
    popularity:
    content: {{tfidf_weight: 0.5}}
  ks: [10, 20]
"""


def write_recipe(folder: Path, **changes: Any) -> Path:
    """folder/recipe.yaml beside folder/source and the script."""
    write_source(folder / "source")
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(model=write_script(folder / "script.json", **changes)), encoding="utf-8")
    return path
