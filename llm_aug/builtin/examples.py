"""Rewriting examples in the product's own prompts: facts -> description, description -> paraphrase or longer text.

One example, before it is rendered: facts "Title: The Eagle\\nFood: Chinese", answer "The Eagle serves Chinese food."
Answers keep to their facts: sentences with names or numbers that the facts do not have are cut or left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_aug.data import Prompt
from llm_aug.prompt import load_template

Row = dict[str, Any]
Facts = list[tuple[str, str]]

ANSWER_CHARACTERS = 480  # about 120 tokens
MADE_SHARE = 0.25  # of film descriptions put together from the facts
SHORT_LEFT_OUT = 0.5  # of film descriptions of one sentence, which are the most by far
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<! [A-Z]\.)\s+(?=[A-Z\"'(])")  # not after an initial: "Alfred E. Green"
_WORD = re.compile(r"[\w'’-]+")
_CREDITS = re.compile(
    r",? (?:(?:and|that was|which was|which|that) )?"
    r"(?:directed|starring|stars|written|produced|released|featuring|features|distributed|adapted|based|from|by|with)\b"
)
_DIRECTOR = re.compile(r"directed by ((?:[A-Z][\w.'’-]+ ?){2,3})")
_PRESS = re.compile(
    r"\b(?:received|reviews?|grossed|box office|nominated|awards?|premiered|preserved|lost film)\b", re.I
)
_DEMONYMS = frozenset(
    _WORD.findall(
        "american british english french german italian indian canadian australian japanese chinese spanish mexican "
        "russian swedish danish irish scottish hollywood christmas technicolor i"
    )
)
# Words that begin a sentence without naming anything.
_STARTERS = frozenset(
    _WORD.findall(
        "a an the it its in this that these those his her he she they their set based after when while during as two "
        "three one with for at on and but also although however before both each every perfect made features "
        "featuring built ideal crafted whether add bring elevate enjoy you your if once until some most many there "
        "here located from"
    )
)


@dataclass(frozen=True)
class Document:
    """What the model reads: prose (no prompt) or one answered prompt. task is also the name in the loss table."""

    task: str
    source: str
    answer: str
    prompt: Prompt | None = None

    @property
    def characters(self) -> int:
        return len(self.answer) + (len(self.prompt.system) + len(self.prompt.user) if self.prompt else 0)


def sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in _SENTENCE_END.split(text.strip()) if sentence.strip()]


def cut(text: str, characters: int) -> str:
    """The longest run of whole sentences from the start of text that fits; '' where not even one does."""
    if len(text) <= characters:
        return text
    ends = [match.start() for match in _SENTENCE_END.finditer(text, 0, characters)]
    return text[: ends[-1]] if ends else ""


def supported(sentence: str, facts: Facts) -> bool:
    """True where every capitalised word and number of the sentence stands in the facts or is a common adjective."""
    known = {word.lower() for _, value in facts for word in _WORD.findall(value)}
    known = known | {_bare(word) for word in known} | _DEMONYMS
    first, *rest = [*_WORD.findall(sentence), ""]
    claims = rest if first.lower() in _STARTERS else [first, *rest]
    named = [word.lower() for word in claims if word[:1].isupper() or word[:1].isdigit()]
    return all(word in known or _bare(word) in known for word in named)


def _bare(word: str) -> str:
    return word.removesuffix("'s").removesuffix("’s")


def faithful(text: str, facts: Facts) -> list[str]:
    """The sentences that the facts support; an unsupported first sentence is tried without its credits."""
    kept = []
    for position, sentence in enumerate(sentences(text)):
        if _PRESS.search(sentence):
            continue
        credit = _CREDITS.search(sentence, len(facts[0][1])) if position == 0 else None
        if credit and not supported(sentence, facts):
            sentence = sentence[: credit.start()].rstrip(",") + "."
        if supported(sentence, facts) and sentence.count(" ") >= 3:
            kept.append(sentence)
    return kept


def row_facts(row: Row, rng: np.random.Generator) -> Facts:
    """Facts of a catalogue row: the title, then some of its attributes, a film's director read from its text."""
    attributes = dict(row.get("attrs") or {})
    facts = [("title", str(attributes.pop("title", "")))]
    director = _DIRECTOR.search(row["text"]) if "cast" in attributes else None
    if director:
        attributes["director"] = director[1].rstrip(" .")
    attributes.pop("license", None)
    attributes.pop("price", None)
    keep = {"genres": 0.95, "year": 0.9, "cast": 0.5, "director": 0.5}
    for name, value in attributes.items():
        if isinstance(value, list):
            value = ", ".join(map(str, value[: rng.integers(2, 6)]))
        if value and rng.random() < keep.get(name, 0.9):
            facts.append((name, str(value)))
    rest = facts[1:]
    return [facts[0], *(rest[i] for i in rng.permutation(len(rest)))]


def pair_facts(row: Row) -> Facts:
    """Facts of a data-to-text row: dart triples, e2e `name[value]` or rnnlg `name = value`.

    [] where the row is not about one thing with a name.
    """
    text = row["input"]
    if row["source"] == "e2e_nlg":
        found = re.findall(r"(\w+)\[([^\]]*)\]", text)
    elif row["source"] == "rnnlg_sfx":
        act, _, slots = text.partition(": ")
        if act.split("| ")[-1] not in ("inform", "recommend"):
            return []
        found = [(name, value) for name, _, value in (slot.partition(" = ") for slot in slots.split("; "))]
    else:
        triples = [triple.split(" | ") for triple in text.split("; ")]
        if len({triple[0] for triple in triples}) != 1 or any(len(triple) != 3 for triple in triples):
            return []
        found = [("name", triples[0][0]), *((name, value) for _, name, value in triples)]
    titles = [value for name, value in found if name == "name"]
    rest = [(_spaced(name), value) for name, value in found if name != "name" and value]
    return [("title", titles[0]), *rest] if titles and rest else []


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).lower()


def lines(facts: Facts, rng: np.random.Generator) -> str:
    """'Name: value' lines; names start with a capital in most examples, in lower case in the others."""
    capital = rng.random() < 0.7
    return "\n".join(f"{name.capitalize() if capital else name}: {value}" for name, value in facts if value)


def film_sentence(facts: Facts, rng: np.random.Generator) -> str:
    """One sentence put together from a film's facts in one of several wordings; '' without a genre or year."""
    have = dict(facts)
    if "genres" not in have or "year" not in have:
        return ""
    title, year, genre = (
        have["title"],
        have["year"],
        have["genres"].lower().replace(", ", " ", 1).replace(", ", " and "),
    )
    a = "an" if genre[0] in "aeiou" else "a"
    openings = [
        f"Released in {year}, {title} is {a} {genre} film",
        f"{title}, {a} {genre} film from {year}",
        f"{title} is {a} {genre} movie that came out in {year}",
        f"The {year} {genre} film {title}",
        f"{title} ({year}) is {a} {genre} picture",
    ]
    choice = int(rng.integers(len(openings)))
    clause = choice in (1, 3)
    director, cast = have.get("director"), have.get("cast")
    cast = re.sub(r", ([^,]+)$", r" and \1", cast) if cast else None
    if director and cast:
        end = f" was directed by {director} and stars {cast}" if clause else f" by {director}, with {cast}"
    elif director:
        end = f" was made by {director}" if clause else f", with {director} as director"
    elif cast:
        end = f" stars {cast}" if clause else f", and it stars {cast}"
    else:
        choice, end = (0, "") if clause else (choice, "")
    return openings[choice] + end + "."


def describe(rows: Sequence[Row], rng: np.random.Generator) -> Iterator[Document]:
    template = load_template("rewrite", "describe")
    for row in rows:
        pair = "input" in row
        facts = pair_facts(row) if pair else row_facts(row, rng)
        if not facts or not facts[0][1]:
            continue
        answer = row["output"].strip() if pair else " ".join(faithful(row["text"], facts))
        film = not pair and "cast" in row["attrs"]
        if film and rng.random() < MADE_SHARE:
            answer = film_sentence(facts, rng)
        answer = cut(answer, ANSWER_CHARACTERS)
        if film and len(sentences(answer)) == 1 and rng.random() < SHORT_LEFT_OUT:
            continue
        if len(answer) >= 20:
            yield Document("describe", row["source"], answer, template.render(facts=lines(facts, rng)))


def paraphrase(rows: Sequence[Row], rng: np.random.Generator) -> Iterator[Document]:
    """Films: own first sentence -> one put together from the facts. Pairs: two wordings of one input, or the pair."""
    template = load_template("rewrite", "paraphrase")
    for facts, before, after in _wordings(rows, rng):
        if 20 <= len(after) <= ANSWER_CHARACTERS and len(before) <= ANSWER_CHARACTERS and not _alike(before, after):
            prompt = template.render(facts=lines(facts, rng), description=before)
            yield Document("paraphrase", rows[0]["source"], after, prompt)


def _wordings(rows: Sequence[Row], rng: np.random.Generator) -> Iterator[tuple[Facts, str, str]]:
    seen: dict[str, str] = {}
    for row in rows:
        if "input" not in row:
            facts = row_facts(row, rng)
            own, made = faithful(row["text"], facts), film_sentence(facts, rng)
            if own and made and own[0].startswith(facts[0][1][:3]):
                yield facts, " ".join(own[:2]), " ".join([made, *own[1:2]])
        elif row["relation"] == "data2text":
            facts = pair_facts(row)
            if facts and (before := seen.get(row["input"])):
                yield facts, before, row["output"]
            seen[row["input"]] = row["output"]
        elif name := re.match(r"[A-Z][\w'’-]+(?: [A-Z][\w'’-]+)+", row["input"]):
            yield [("title", name[0])], row["input"], row["output"]


def _alike(before: str, after: str) -> bool:
    first, second = (set(_WORD.findall(text.lower())) for text in (before, after))
    return len(first & second) > 0.85 * len(first | second)


def expand(rows: Sequence[Row], rng: np.random.Generator) -> Iterator[Document]:
    """A text of two sentences or more, from its facts and a part of its sentences."""
    template = load_template("rewrite", "expand")
    for row in rows:
        facts = row_facts(row, rng)
        whole = sentences(cut(" ".join(faithful(row["text"], facts)), ANSWER_CHARACTERS))
        if len(whole) < 2 or not facts[0][1]:
            continue
        short = whole[: rng.integers(1, len(whole))] if rng.random() < 0.7 else [whole[int(rng.integers(len(whole)))]]
        prompt = template.render(facts=lines(facts, rng), description=" ".join(short))
        yield Document("expand", row["source"], " ".join(whole), prompt)
