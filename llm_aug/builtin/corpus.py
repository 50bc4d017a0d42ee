"""Open text -> training documents of the built-in model: prose and examples in the product's own prompts, mixed.

One row of the corpus:  {"text": "The Eagle is a coffee shop ...", "source": "e2e_nlg", "kind": "B",
                         "input": "name[The Eagle], eatType[coffee shop]", "output": "The Eagle is a ..."}
The corpus folder holds one `<source>.jsonl.zst` per source. No interaction of any dataset is read here.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from llm_aug.builtin import lessons, readers
from llm_aug.builtin.cleaning import fault, repaired, unlike
from llm_aug.builtin.examples import Document, Row, cut
from llm_aug.errors import InputError, Unavailable
from llm_aug.seeds import generator

# Share of the characters of each prose source. litbank is old prose and stays small. Left out: positive_frames
# (tweets), logicnlg (sentences that only make sense beside their table), turkcorpus (its repository is under the GPL),
# appimage_appdata and gum_open_genres (texts whose own licence the corpus does not tell), speeches, taskmaster4.
PROSE = {
    "wikipedia_movies": 0.09,
    "aws_retail_demo_products": 0.02,
    "open5e_items": 0.015,
    "nltk_movie_reviews": 0.02,
    "nltk_polarity_subjectivity": 0.02,
    "nltk_product_reviews": 0.01,
    "nltk_pros_cons": 0.005,
    "awesome_lists": 0.008,
    "awesome_selfhosted": 0.004,
    "open_source_ios_apps": 0.002,
    "opensourcegames": 0.002,
    "public_domain_recipes": 0.004,
    "tacofancy": 0.001,
    "based_cooking": 0.0002,
    "getty_romanmosaics": 0.001,
    "cia_factbook": 0.008,
    "scitldr": 0.015,
    "gap_wikipedia": 0.025,
    "openstax_by": 0.025,
    "xquad_en": 0.004,
    "plainlanguage_gov": 0.004,
    "ud_ewt": 0.008,
    "nltk_masc_tagged": 0.008,
    "dstc8_sgd": 0.008,
    "litbank_fiction": 0.01,
}
# (task, source) -> share of the characters, prompt included.
_FILMS, _GOODS, _FANTASY = "wikipedia_movies", "aws_retail_demo_products", "open5e_items"
TASKS = {
    ("describe", _FILMS): 0.07,
    ("describe", _GOODS): 0.02,
    ("describe", _FANTASY): 0.006,
    ("describe", "dart"): 0.03,
    ("describe", "e2e_nlg"): 0.012,
    ("describe", "rnnlg_sfx"): 0.012,
    ("paraphrase", _FILMS): 0.11,
    ("paraphrase", _GOODS): 0.02,
    ("paraphrase", _FANTASY): 0.01,
    ("paraphrase", "e2e_nlg"): 0.012,
    ("paraphrase", "dart"): 0.02,
    ("paraphrase", "wikisplit"): 0.03,
    ("expand", _FILMS): 0.03,
    ("expand", _GOODS): 0.01,
    ("expand", _FANTASY): 0.004,
    ("condense", _FILMS): 0.07,
    ("condense", _GOODS): 0.02,
    **{(style, _FILMS): 0.03 for style in ("trim", "swap", "fuse")},
    **{(style, _GOODS): 0.01 for style in ("trim", "swap", "fuse")},
    **{(style, _FANTASY): 0.006 for style in ("condense", "trim", "swap", "fuse")},
    ("attributes", _FILMS): 0.012,
    ("attributes", _GOODS): 0.004,
    ("queries", _FILMS): 0.008,
    ("queries", _GOODS): 0.004,
    ("queries", "awesome_selfhosted"): 0.004,
    ("queries", "open_source_ios_apps"): 0.003,
    ("queries", "opensourcegames"): 0.001,
    ("write", _FILMS): 0.008,
    ("write", _GOODS): 0.004,
    ("interests", _FILMS): 0.008,
    ("interests", _GOODS): 0.004,
    ("group", _FILMS): 0.002,
    ("extend", _FILMS): 0.006,
    ("simulate", _FILMS): 0.004,
    ("judge", _FILMS): 0.1,
    ("preference", _FILMS): 0.02,
    ("both_orders", _FILMS): 0.02,
}
TEMPLATES = (
    *(("rewrite", style) for style in lessons.REWRITING),
    *lessons.READING.values(),
    *(("judge", style) for style in ("history", *lessons.JUDGING)),
)
SOURCES = sorted({*PROSE, *(source for _, source in TASKS)})
PIECE_CHARACTERS = 1500
HELD_OUT_IN = 50  # one row in 50, chosen by its title or input, is never trained on
MOST_REPEATS = 3  # a small source is told at most this often in one pass


@dataclass(frozen=True)
class Streams:
    """rows per source, without the held-out ones; `held` has those. dropped: reason -> rows that are not read."""

    rows: dict[str, list[Row]]
    held: dict[str, list[Row]]
    dropped: Counter[str] = field(default_factory=Counter)


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of one `.jsonl.zst` file. Raises Unavailable without the zstandard package, InputError on a torn line."""
    try:
        import zstandard
    except ImportError as error:
        raise Unavailable("reading the corpus needs zstandard: pip install zstandard") from error
    with open(path, "rb") as handle:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(handle), encoding="utf-8")
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}, line {number}: not JSON ({error.msg}); fetch the file again") from error


def read_streams(folder: Path) -> Streams:
    """Every source of the mix that the folder has, cleaned, each thing once. Raises InputError where it has none.

    Held-out rows come first when copies are looked for, so that no copy of one is trained on.
    """
    dropped = Counter[str]()
    held: list[Row] = []
    rest: list[Row] = []
    for source in SOURCES:
        path = folder / f"{source}.jsonl.zst"
        for row in map(repaired, read_rows(path)) if path.is_file() else ():
            if reason := fault(row):
                dropped[reason] += 1
            else:
                (held if held_out(row) else rest).append(row)
    if not rest:
        raise InputError(f"{folder} has no corpus file of ours, such as {SOURCES[0]}.jsonl.zst; point --corpus at one")
    found = unlike([*held, *rest])
    streams = Streams({}, {}, dropped + found.dropped)
    for place in found.places:
        side, row = (streams.held, held[place]) if place < len(held) else (streams.rows, rest[place - len(held)])
        side.setdefault(row["source"], []).append(row)
    return streams


def held_out(row: Row) -> bool:
    """By title or input, so that all sentences about one thing fall on the same side."""
    key = str(row.get("attrs", {}).get("title") or row.get("input") or row["text"])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % HELD_OUT_IN == 0


def prose(rows: Iterable[Row]) -> Iterator[Document]:
    """Each row's text in pieces of whole sentences."""
    for row in rows:
        rest = row["text"].strip()
        while rest:
            piece = cut(rest, PIECE_CHARACTERS) or rest[:PIECE_CHARACTERS]
            yield Document("prose", row["source"], piece)
            rest = rest[len(piece) :].strip()


MAKERS: dict[str, lessons.Maker] = {
    "judge": readers.judge,
    **{style: lessons.rewriting(style) for style in lessons.REWRITING},
    **{name: lessons.reading(name) for name in lessons.READING},
    **{style: lessons.judging(style) for style in lessons.JUDGING},
}


def documents(task: str, rows: list[Row], rng: np.random.Generator) -> Iterator[Document]:
    """One pass over the rows of one source, in random order, as documents of the task ('prose' among them)."""
    order = [rows[i] for i in rng.permutation(len(rows))]
    return prose(order) if task == "prose" else MAKERS[task](order, rng)


def mix(streams: Streams, characters: int, seed: int) -> list[Document]:
    """About `characters` of documents, each stream by its share, shuffled.

    A share that a small source cannot fill in MOST_REPEATS passes is left unfilled.
    """
    chosen: list[Document] = []
    for (task, source), share in _shares(streams.rows).items():
        budget = characters * share
        for number in range(MOST_REPEATS):
            rng = generator(seed, "builtin", task, source, number)
            budget -= _take(documents(task, streams.rows[source], rng), budget, chosen)
            if budget <= 0:
                break
    order = generator(seed, "builtin", "mix").permutation(len(chosen))
    return [chosen[i] for i in order]


def _shares(sources: Iterable[str]) -> dict[tuple[str, str], float]:
    """(task or 'prose', source) -> share of the characters, over the sources there are; sums to 1."""
    shares: dict[tuple[str, str], float] = {("prose", source): share for source, share in PROSE.items()} | TASKS
    there = set(sources)
    present = {key: share for key, share in shares.items() if key[1] in there}
    total = sum(present.values())
    return {key: share / total for key, share in present.items()}


def nominal_shares(sources: Iterable[str]) -> dict[str, float]:
    """source -> share of the characters of the mix, all tasks together."""
    shares: dict[str, float] = {}
    for (_, source), share in _shares(sources).items():
        shares[source] = shares.get(source, 0.0) + share
    return shares


def _take(found: Iterator[Document], budget: float, chosen: list[Document]) -> int:
    taken = 0
    while taken < budget and (document := next(found, None)) is not None:
        chosen.append(document)
        taken += document.characters
    return taken


def held_out_documents(streams: Streams, each: int, seed: int) -> dict[str, list[Document]]:
    """Per task, 'prose' among them, up to `each` documents of every stream, of held-out rows alone.

    The judge has one stream only and gets ten times as many.
    """
    groups: dict[str, list[Document]] = {}
    for task, source in [*(("prose", source) for source in PROSE), *TASKS]:
        if rows := streams.held.get(source):
            found = documents(task, rows, generator(seed, "builtin", "held", task, source))
            limit = 10 * each if task == "judge" else each
            for document in itertools.islice(found, limit):
                groups.setdefault(document.task, []).append(document)
    return groups
