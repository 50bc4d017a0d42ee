"""What teaches a style of rewriting: the same again, of the requests' look, and accepted by the style."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from lamps import LAMP, shelf

from llm_aug import seeds
from llm_aug.data import Dataset, Request, tidy_items
from llm_aug.tasks.rewrite import Rewrite
from llm_aug.tasks.rewrite_styles import CHECKS, STYLES, gist, padded, swapped
from llm_aug.text import names, quantities, sentences


@pytest.mark.parametrize("style", sorted(STYLES))
def test_examples_are_the_same_again_and_look_like_requests(style: str) -> None:
    task, other = Rewrite(style=style), Rewrite(style=style, seed=1)
    examples = list(task.examples(shelf()))
    assert examples
    assert examples == list(task.examples(shelf()))
    fewer = replace(shelf(), items=shelf().items.drop(index=1))
    if style != "attributes":  # whose closed set is the whole catalogue's
        assert all(example in examples for example in task.examples(fewer))
        assert style == "describe" or examples != list(other.examples(shelf()))
    request = next(one for one in task.requests(shelf()) if isinstance(one, Request))
    assert examples[0].prompt.system == request.prompt.system
    labels = {line.partition(":")[0] for line in request.prompt.user.splitlines()} | {"Kind", "Review", "Other text"}
    assert {line.partition(":")[0] for one in examples for line in one.prompt.user.splitlines()} <= labels


@pytest.mark.parametrize("style", ["paraphrase", "expand", "condense", "trim", "swap"])
def test_a_style_accepts_the_answers_that_it_teaches(style: str) -> None:
    """Of three lamps with numbers and names: a lesson that its own parser refused would teach rejects."""
    rows = [
        {"item_id": f"l{n}", "title": "Halo lamp", "kind": "Light", "description": LAMP.replace("30", f"3{n}")}
        for n in range(3)
    ]
    task = Rewrite(style=style)
    for example in task.examples(Dataset(tidy_items(pd.DataFrame(rows)), shelf().interactions)):
        source = example.prompt.user.rpartition("Description: ")[2]
        kept = [reason for reason in task.rules.checks if reason not in ("lost_number", "lost_name", "new_number")]
        assert [reason for reason in kept if CHECKS[reason](source, example.answer, example.prompt.user)] == []


def test_lessons() -> None:
    for seed in range(20):
        rng = seeds.generator(seed, "test")
        longer = padded(LAMP, rng)
        assert len(longer.split()) > len(LAMP.split())
        assert all(sentence.split()[0] in longer for sentence in sentences(LAMP))
        mixed = swapped(LAMP, ["Light", "12", "of"], rng)
        assert mixed != LAMP
        assert set(mixed.split()) - set(LAMP.split()) == {"light"}
        assert quantities(mixed) == quantities(LAMP)
        assert names(mixed) == names(LAMP)
    assert "item" in swapped(LAMP, [], seeds.generator(0, "test")).split()
    assert gist("A lamp by Nordlys. It is nice. Nordlys made it in Oslo. It has 2 bulbs. Lovely.") == (
        "A lamp by Nordlys. Nordlys made it in Oslo. It has 2 bulbs."
    )
