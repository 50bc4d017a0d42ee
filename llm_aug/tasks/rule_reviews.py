"""Reviews by rule, of a real rating and the item's own words: they teach the form of an answer, and nobody's taste.

5 of 5:  "I loved Toy Story. If you like Comedy and Animation, try it."
1 of 5:  "A poor choice, I am afraid. Even if you like Comedy, look elsewhere."
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from llm_aug.tasks.rating import CLEAR
from llm_aug.text import capped

NAME_WORDS, TAGS = 8, 2  # of a title, and of an item, that a review may mention
SECOND = 0.75  # of the reviews have a second sentence, where there is a tag to speak of


@dataclass(frozen=True)
class Wordings:
    """openings: what the user thinks, before any word of the item's, which may be "never". endings: of its tags."""

    openings: tuple[str, ...]
    endings: tuple[str, ...]


HIGH = Wordings(
    (
        "I loved {name}.",
        "A wonderful choice, {name}.",
        "Excellent, one of the best of its kind.",
        "I really enjoyed {name}.",
        "Great, and easy to recommend.",
        "What a delightful surprise.",
        "I am glad that I chose {name}.",
        "Very good, and just what I was looking for.",
    ),
    ("Just right for anyone who likes {tags}.", "If you like {tags}, try it.", "More {tags} like this, please."),
)
MIXED = Wordings(
    (
        "It was all right, no more.",
        "Some of it is good, some of it dull.",
        "Neither the best nor the worst of its kind.",
        "I expected a little more of {name}.",
        "Not bad, and not great either.",
        "Fair enough, with a few weak points.",
        "I am in two minds about {name}.",
        "Decent, though nothing special.",
    ),
    ("If you like {tags}, it may suit you better.", "It will do for {tags}.", "I know better choices in {tags}."),
)
LOW = Wordings(
    (
        "I was disappointed by {name}.",
        "A poor choice, I am afraid.",
        "Dull, and far from what I hoped for.",
        "A waste, I expected more of {name}.",
        "Boring, and I would not choose {name} again.",
        "One of the worst of its kind.",
        "Terrible, I regret {name}.",
        "Sadly, it is mediocre.",
    ),
    ("Even if you like {tags}, look elsewhere.", "I know better choices in {tags}.", "I hoped for more {tags}."),
)


def by_rule(title: str, tags: Sequence[str], place: float, random: np.random.Generator) -> Iterator[str]:
    """Each opening once, in a drawn order, with an ending of its own or none. place: of the rating, 0 to 1.

    Clear ratings get clear words, as `rating.contradicts` reads them.
    """
    wordings = HIGH if place >= 1 - CLEAR else LOW if place <= CLEAR else MIXED
    name = capped(title, NAME_WORDS).strip().rstrip(".,:;!?") or "this one"
    for opening in random.permutation(len(wordings.openings)):
        said = wordings.openings[opening].replace("{name}", name)
        drawn = [tags[place] for place in random.permutation(len(tags))[:TAGS]]
        ending = wordings.endings[random.integers(len(wordings.endings))]
        if drawn and random.random() < SECOND:
            said += " " + ending.replace("{tags}", " and ".join(drawn))
        yield said
