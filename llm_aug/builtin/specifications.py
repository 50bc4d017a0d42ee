"""Sizes, counts and model numbers for lessons about things: shops tell goods by them, and the open corpus has few.

"The lamp is brass." -> "The lamp is brass. Size: 8-1/2 x 11 inches; Quantity: 24; Color: Blue." All of it is drawn, so
that the only way to answer is to read the numbers in the prompt and to say them again.
"""

from __future__ import annotations

import re

import numpy as np

from llm_aug.builtin.examples import cut
from llm_aug.text import sentences

MOST = 3  # sentences that join a text
IN_TITLE = 0.4  # of the titles end in a count or a model number
_FRACTIONS = ("1/2", "1/4", "3/4", "1/8", "3/8", "5/8", "1/3", "2/3")
_LENGTHS = ("inches", "inch", '"', "mm", "cm", "feet")
_WEIGHTS = ("pounds", "lbs", "ounces", "oz", "kg", "grams", "lb")
_COLORS = ("Black", "White", "Blue", "Red", "Clear", "Assorted", "Green", "Gray", "Brown", "Silver")
_PACKS = ("Pack of {n}", "{n} per Pack", "{n}/Box", "Box of {n}", "{n} Pack", "{n}-Count", "{n} Each", "Set of {n}")
_MADE = (
    "It measures {length}.",
    "It measures {sides}.",
    "Measures {sides} and weighs {weight}.",
    "Each one is {length} long.",
    "It weighs {weight}.",
    "{pack}.",
    "{code}.",
    "Comes in a pack of {n}.",
    "A box holds {n} of them, in {few} colors.",
    "It holds up to {n} sheets.",
    "Includes {few} covers, {few} clips and {n} labels.",
    "Works with models {code}, {code}, {code} and {code}.",
    "For use with {code} and {code}.",
    "It yields about {n} pages, {few} times as many as before.",
    "Made with {share}% recycled material, of which {share}% is post-consumer.",
    "Size: {sides}; Color: {color}; Quantity: {n}.",
    "Product Type: {color} {code}. Dimensions: Height: {length}. Width: {length}. Weight: {weight}.",
    "Color(s): {color}; Sheet Size: {sides}; Capacity: {n}.",
    "Runs for {few} hours on {few} AA batteries of {volts} volts.",
    "Prints {n} pages per minute at {n} dpi.",
    "It is {length} wide, {length} high and {length} deep.",
    "Item number {code}, {pack}.",
    "The warranty lasts for {few} years.",
)


def specified(title: str, text: str, characters: int, rng: np.random.Generator) -> tuple[str, str]:
    """(title, text) with up to MOST sentences between those of the text, which is shortened to make room for them."""
    said = [_filled(str(rng.choice(_MADE)), rng) for _ in range(int(rng.integers(1, MOST + 1)))]
    parts = sentences(cut(text, characters - len(" ".join(said)) - 1))
    for sentence in said:
        parts.insert(int(rng.integers(len(parts) + 1)), sentence)
    if rng.random() < IN_TITLE:
        title = f"{title}, {_filled(str(rng.choice(_PACKS)), rng)}" if rng.random() < 0.6 else f"{title} ({_code(rng)})"
    return title, " ".join(parts)


def _filled(wording: str, rng: np.random.Generator) -> str:
    made = {
        "length": _length,
        "sides": _sides,
        "weight": lambda rng: f"{_number(rng)} {rng.choice(_WEIGHTS)}",
        "pack": lambda rng: _filled(str(rng.choice(_PACKS)), rng),
        "code": _code,
        "color": lambda rng: str(rng.choice(_COLORS)),
        "n": _count,
        "few": lambda rng: str(rng.integers(2, 13)),
        "share": lambda rng: str(rng.integers(5, 100)),
        "volts": lambda rng: f"{rng.integers(1, 13)}.{rng.integers(1, 10)}",
    }
    return re.sub(r"\{(\w+)\}", lambda found: made[found[1]](rng), wording)


def _count(rng: np.random.Generator) -> str:
    """A few, or hundreds, mostly round."""
    number = round(float(np.exp(rng.uniform(np.log(2), np.log(3000)))))
    if number > 20 and rng.random() < 0.6:
        number -= number % 10
    return f"{number:,}" if rng.random() < 0.5 else str(number)


def _number(rng: np.random.Generator) -> str:
    """8, 8.5, 0.75, 8-1/2."""
    whole = int(rng.integers(1, 37))
    kind = rng.random()
    if kind < 0.4:
        return str(whole)
    if kind < 0.8:
        return f"{whole * int(rng.random() < 0.8)}.{rng.integers(1, 100)}"
    return f"{whole}-{rng.choice(_FRACTIONS)}"


def _length(rng: np.random.Generator) -> str:
    unit = str(rng.choice(_LENGTHS))
    return f"{_number(rng)}{'' if unit == chr(34) else ' '}{unit}"


def _sides(rng: np.random.Generator) -> str:
    unit = str(rng.choice(_LENGTHS))
    sides = [_number(rng) for _ in range(int(rng.integers(2, 4)))]
    return '" x '.join(sides) + '"' if unit == '"' else f"{' x '.join(sides)} {unit}"


def _code(rng: np.random.Generator) -> str:
    """76084, TN450, CB335WN, SFL-30."""
    letters = "".join(rng.choice(list("ABCDEFGHJKLMNPRSTVWX"), int(rng.integers(0, 4))))
    digits = str(rng.integers(10, 10 ** int(rng.integers(2, 6))))
    ending = "".join(rng.choice(list("ABCKMNWX"), int(rng.integers(0, 3)))) if letters else ""
    return f"{letters}{'-' if letters and rng.random() < 0.3 else ''}{digits}{ending}"
