"""The head of a prompted task: what its template may ask for, and what it has to."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from llm_aug.errors import InputError
from llm_aug.prompt import Template
from llm_aug.tasks.prompted import Prompted


@dataclass(frozen=True)
class Fruit(Prompted):
    """Asks for a fruit, and where it has a colour for no size."""

    task: ClassVar[str] = "fruit"
    style: str = "none"

    def variables(self, template: Template) -> tuple[Set[str], Set[str]]:
        return {"fruit"}, {"colour"} if "colour" in template.variables else {"size"}


def fruit(folder: Path, words: str) -> Fruit:
    path = folder / "mine.md"
    path.write_text(f"[system]\nName it.\n[user]\n{words}\n")
    return Fruit(str(path))


def test_a_template_that_fits_gives_name_and_hash(tmp_path: Path) -> None:
    one, other = fruit(tmp_path, "{{ fruit }} {{ size }}"), fruit(tmp_path, "{{ fruit }}")
    assert one.name == other.name == "fruit/mine"
    assert other.template.render(fruit="fig").user == "fig"
    assert len(other.prompt_hash) == 16
    other_hash = other.prompt_hash
    assert fruit(tmp_path, "{{ fruit }}!").prompt_hash != other_hash


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("{{ fruit }} {{ sise }}", "prompt fruit/mine asks for 'sise'; a fruit has fruit, size; did you mean 'size'"),
        ("{{ fruit }} {{ colour }} {{ size }}", "asks for 'size'; a fruit has colour, fruit"),
        ("{{ size }}", "prompt fruit/mine does not ask for 'fruit', which this style needs"),
        ("a fruit", "does not ask for 'fruit'"),
    ],
)
def test_a_template_that_does_not_fit_is_refused(tmp_path: Path, words: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        _ = fruit(tmp_path, words).prompt_hash
