"""Rule-made readers for the judge: films that share a genre or an actor, then one that does or does not.

No interaction of any person is read: a reader is a rule drawn at random over catalogue rows.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from llm_aug.builtin.examples import Document, Row
from llm_aug.prompt import load_template

HISTORY = (5, 11)  # items of a history: from, below
LIKED_SHARE = 0.5  # a new film with a trait that this share of the history has is liked
UNLIKED_SHARE = 0.2  # one whose traits all stay at or under this share is not; what lies between is not asked
ACTOR_READERS = 0.1
RENAMED_READERS = 0.2
# Some readers see the genres under other catalogues' names, so that the model compares words, not known films.
OTHER_NAMES = re.split(
    ",",
    "Sci-Fi,Animation,Children,Kids,Film-Noir,Furniture,Apparel,Kitchen,Garden,Jewelry,Beauty,Tools,Books,Footwear,"
    "Electronics,Toys,Puzzle,Strategy,Racing,Platformer,Jazz,Rock,Pop,Classical,Folk,Blues,Metal,Poetry,Travel,Cooking,"
    "History,Science,Politics,Philosophy,Health,Business,Art,Photography,Fiction,Self Help,Gaming,Office,Pets,Baby",
)


def judge(rows: Sequence[Row], rng: np.random.Generator) -> Iterator[Document]:
    """One question per row that has genres, the row being the new film; yes and no come out about even."""
    template = load_template("judge", "history")
    films = [row for row in rows if row["attrs"].get("genres")]
    by_genre = _index(films, "genres")
    by_actor = {name: found for name, found in _index(films, "cast").items() if len(found) >= 6}
    said = Counter({"yes": 0, "no": 0})
    for film in films:
        actors = [name for name in film["attrs"].get("cast", []) if name in by_actor]
        trait = "cast" if actors and rng.random() < ACTOR_READERS else "genres"
        answer = min(said, key=lambda word: (said[word], rng.random()))
        if trait == "cast":
            liked = [actors[0]] if answer == "yes" else [_choice(list(by_actor), rng)]
        else:
            liked = _liked_genres(film, by_genre, answer, rng)
        history = _history(film, by_actor if trait == "cast" else by_genre, liked, rng)
        if history is not None and _verdict(history, film, trait) == answer:
            written = _written([*history, film], trait, rng)
            prompt = template.render(history=written[:-1], item=written[-1])
            said[answer] += 1
            yield Document("judge", film["source"], answer, prompt)


def _index(films: Sequence[Row], trait: str) -> dict[str, list[Row]]:
    index: dict[str, list[Row]] = defaultdict(list)
    for film in films:
        for name in film["attrs"].get(trait, []):
            index[name].append(film)
    return dict(index)


def _choice(names: Sequence[str], rng: np.random.Generator, weights: Sequence[float] | None = None) -> str:
    p = None if weights is None else np.asarray(weights) / np.sum(weights)
    return names[int(rng.choice(len(names), p=p))]


def _liked_genres(film: Row, by_genre: dict[str, list[Row]], answer: str, rng: np.random.Generator) -> list[str]:
    """One or two genres; a yes begins with one of the film's own, a no has none of them. Rare genres count by root."""
    own = film["attrs"]["genres"]
    others = [name for name in by_genre if name not in own]
    weights = [len(by_genre[name]) ** 0.5 for name in others]
    first = _choice(own, rng) if answer == "yes" or not others else _choice(others, rng, weights)
    second = [_choice(others, rng, weights)] if others and rng.random() < 0.4 else []
    return list(dict.fromkeys([first, *second]))


def _history(film: Row, index: dict[str, list[Row]], liked: list[str], rng: np.random.Generator) -> list[Row] | None:
    n = int(rng.integers(*HISTORY))
    found: list[Row] = []
    for _ in range(3 * n):
        shelf = index[liked[int(rng.integers(len(liked)))]]
        row = shelf[int(rng.integers(len(shelf)))]
        if row is not film and row not in found:
            found.append(row)
        if len(found) == n:
            return found
    return found if len(found) >= HISTORY[0] else None


def _verdict(history: Sequence[Row], film: Row, trait: str) -> str:
    counts = Counter(name for row in history for name in set(row["attrs"].get(trait, [])))
    share = max((counts[name] for name in film["attrs"].get(trait, [])), default=0) / len(history)
    return "yes" if share >= LIKED_SHARE else "no" if share <= UNLIKED_SHARE else ""


def _written(rows: Sequence[Row], trait: str, rng: np.random.Generator) -> list[str]:
    """Short lines such as 'The Eagle. Drama, War. 1925', in one form for all items of a question."""
    names = {name for row in rows for name in row["attrs"]["genres"]}
    shown = {name: name for name in names}
    if rng.random() < RENAMED_READERS:
        shown = dict(zip(sorted(names), rng.permutation(OTHER_NAMES), strict=False))
        shown |= {name: name for name in names if name not in shown}
    form = int(rng.integers(4))
    written = []
    for row in rows:
        attributes = row["attrs"]
        genres = ", ".join(shown[name] for name in attributes["genres"])
        parts = {
            0: [attributes["title"], genres, str(attributes["year"])],
            1: [f"{attributes['title']} ({attributes['year']})", genres],
            2: [attributes["title"], genres],
            3: [attributes["title"], str(attributes["year"]), genres],
        }[form]
        if trait == "cast":
            parts.append(", ".join(attributes.get("cast", [])[:3]))
        written.append(". ".join(part for part in parts if part))
    return written
