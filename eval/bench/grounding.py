"""Disturbed titles and absent ones, grounded in real catalogues: python -m eval.bench.grounding [--data FOLDER]

FOLDER holds data sets, each a folder with items.parquet. A tenth of each catalogue is taken out of it; of the titles
that stay some are written otherwise, in ways drawn by seed, and those that were taken out are asked as they are.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from eval.bench.report import print_json
from llm_aug import seeds
from llm_aug.tasks.grounding import Grounding, key
from llm_aug.tidy import read_items

DATA = Path(__file__).parents[3] / "shared" / "data"
ENCODERS = ("letters:512", "hash:256", "minilm")
HELD_OUT = 0.1
ARTICLES = ("The ", "A ", "An ", "")
COMMENTS = (
    " - a quiet joy",
    " – one of my favourites!",
    " (seen it twice)",
    ": great",
    " is what I liked best",
    ", of course",
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"

Random = np.random.Generator


@dataclass(frozen=True)
class Share:
    """Of so many lines: percent grounded to the item meant, to another, and to none."""

    lines: int
    right: float
    wrong: float
    none: float


@dataclass(frozen=True)
class Measured:
    """shares: by way of disturbing. ms_per_line: once the catalogue is encoded."""

    floor: float
    margin: float
    ms_per_line: float
    shares: dict[str, Share]


def typo(title: str, random: Random) -> str:
    """One letter is another, left out, doubled, or changes places with the next."""
    at = int(random.choice([place for place, sign in enumerate(title) if sign.isalpha()] or [0]))
    before, letter, after = title[:at], title[at], title[at + 1 :]
    ways = (str(random.choice(list(LETTERS))), "", 2 * letter)
    way = int(random.integers(len(ways) + 1))
    return before + (ways[way] + after if way < len(ways) else after[:1] + letter + after[1:])


def dropped_word(title: str, random: Random) -> str:
    words = title.split()
    del words[int(random.integers(len(words)))]
    return " ".join(words)


def swapped_words(title: str, random: Random) -> str:
    words = title.split()
    at = int(random.integers(len(words) - 1)) if len(words) > 1 else 0
    return " ".join([*words[:at], *words[at : at + 2][::-1], *words[at + 2 :]])


def other_article(title: str, random: Random) -> str:
    has = next((article for article in ARTICLES if article and title.startswith(article)), "")
    return str(random.choice([article for article in ARTICLES if article != has])) + title.removeprefix(has)


def comment(title: str, random: Random) -> str:
    return title + str(random.choice(COMMENTS))


WAYS: Mapping[str, Callable[[str, Random], str]] = {
    "typo": typo,
    "dropped word": dropped_word,
    "swapped words": swapped_words,
    "other article": other_article,
    "comment": comment,
}


def disturbed(grounding: Grounding, items: Sequence[str], seed: int) -> dict[str, list[tuple[str, str]]]:
    """(line, item) of each way; where a way leaves a title as it is or nothing of it, the title is passed over."""
    found: dict[str, list[tuple[str, str]]] = {"as it is": [(grounding.names[item], item) for item in items]}
    found["its year"] = [(f"{grounding.names[item]} ({grounding.years.get(item, 1999)})", item) for item in items]
    for name, way in WAYS.items():
        random = {item: seeds.generator(seed, "bench", "grounding", name, item) for item in items}
        lines = [(way(grounding.names[item], random[item]), item) for item in items]
        found[name] = [(line, item) for line, item in lines if line not in ("", grounding.names[item])]
    return found


def share(grounding: Grounding, lines: Sequence[tuple[str, str]]) -> Share:
    """lines: with the item that each means, '' for none."""
    told = Counter(_kind(grounding.ground(line).item, item) for line, item in lines)
    return Share(len(lines), *(round(100 * told[kind] / max(1, len(lines)), 1) for kind in ("right", "wrong", "none")))


def _kind(item: str, meant: str) -> str:
    return "none" if not item else "right" if item == meant else "wrong"


def measure(items: pd.DataFrame, encoder: str, titles: int, seed: int) -> Measured:
    random = seeds.generator(seed, "bench", "grounding", "held out")
    out = random.random(len(items)) < HELD_OUT
    grounding = Grounding(items[~out], encoder, release="year" if "year" in items else None)
    named = [item for item, name in grounding.names.items() if grounding.ground(name).item == item]
    some = [named[place] for place in random.permutation(len(named))[:titles]]
    asked = disturbed(grounding, some, seed)
    asked["absent"] = [(title, "") for title in items[out]["title"] if key(title) not in grounding.items]
    floor, started = grounding.floor, time.perf_counter()
    shares = {way: share(grounding, lines) for way, lines in asked.items()}
    spent = 1000 * (time.perf_counter() - started) / sum(map(len, asked.values()))
    return Measured(round(floor, 3), grounding.margin, round(spent, 2), shares)


def main(
    data: Annotated[Path, typer.Option(file_okay=False)] = DATA,
    encoder: Annotated[list[str] | None, typer.Option()] = None,
    titles: Annotated[int, typer.Option(min=1)] = 500,
    seed: int = 0,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """encoder: may be given several times. titles: disturbed in each catalogue."""
    catalogues = {path.parent.name: read_items(path) for path in sorted(data.glob("*/items.parquet"))}
    found = {
        (name, one): measure(items, one, titles, seed)
        for name, items in catalogues.items()
        for one in encoder or ENCODERS
    }
    if as_json:
        print_json([{"data": name, "encoder": one, **asdict(measured)} for (name, one), measured in found.items()])
        return
    for (name, one), measured in found.items():
        lines = [f"{name}, {one}: floor {measured.floor}, margin {measured.margin}, {measured.ms_per_line} ms a line"]
        lines.append(f"{'':16}   lines  right %  wrong %   none %")
        lines += [
            f"  {way:14} {s.lines:7} {s.right:8.1f} {s.wrong:8.1f} {s.none:8.1f}" for way, s in measured.shares.items()
        ]
        sys.stdout.write("\n".join(lines) + "\n\n")


if __name__ == "__main__":
    typer.run(main)
