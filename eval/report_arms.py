"""What the arms of an experiment are, a sentence each, and who made their data."""

from __future__ import annotations

from collections.abc import Iterable

from eval.arms import AGAIN, REAL
from eval.compare import by_llm

MEANINGS = {
    AGAIN: "The same real rows once more: it must show no gain, or the experiment itself makes gains.",
    "random": "As many pairs, with users drawn at random: what more rows do, however senseless.",
    "active": "As many pairs, all with the most active users: what feeding the heavy users does.",
    "shuffled": "The funnel's pairs, each item's given to another cold item: what wrong texts do.",
    "funnel": "The nearest users without any LLM: what the LLM has to improve on.",
    "random-items": "As many items for the same users, drawn at random: what more rows do, however senseless.",
    "popular-items": "As many items for the same users, the most popular: what repeating the crowd does.",
    "similar-items": "As many items for the same users, nearest to what they have: what text does without an LLM.",
    "shuffled-texts": "The same texts given to the wrong items: what text does, whatever it says.",
    "noise": "Real rows or vectors with noise on them: what blurring alone does.",
    "transform": "Real texts or histories cut, masked or put in another order: what simple edits do.",
    "mix": "Real examples blended in pairs: what interpolation does.",
    "vae": "Drawn from a variational autoencoder of the real data: what a small generative model does.",
    "gan": "Drawn from a generator trained against a critic: what an adversarial model does.",
}
FOREIGN = "foreign: maker unknown"
EXPECTED = (AGAIN, "random")  # missed where they are not there


def maker(arm: str, generators: Iterable[str]) -> str:
    """Who made an arm's samples, by their origins where they are known (see `data.Origin`), else by the arm's name."""
    if arm in (REAL, AGAIN):
        return ""
    made = sorted(set(generators))
    if made:
        return ", ".join(FOREIGN if generator == "foreign" else generator for generator in made)
    known = by_llm(arm) or all(part in MEANINGS for part in arm.split("+"))
    return "" if known else FOREIGN
