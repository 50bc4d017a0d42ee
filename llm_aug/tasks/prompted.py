"""The head of whatever is asked by a template: which one, and whether it asks for what the task has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Set
from functools import cached_property
from typing import ClassVar

from llm_aug.errors import InputError, did_you_mean
from llm_aug.prompt import Template, load_template


class Prompted(ABC):
    """task: the folder of its styles in `prompts/`. style: one of them, or a file of one's own."""

    task: ClassVar[str]
    style: str

    @abstractmethod
    def variables(self, template: Template) -> tuple[Set[str], Set[str]]:
        """What a template of this kind has to ask for, and what else it may."""

    @cached_property
    def template(self) -> Template:
        """Raises InputError where it asks for what there is not, or not for what the style needs."""
        template = load_template(self.task, self.style)
        needed, more = self.variables(template)
        known = needed | more
        if unknown := template.variables - known:
            has = f"a {self.task} has {', '.join(sorted(known))}"
            raise InputError(
                f"prompt {template.name} asks for {min(unknown)!r}; {has}; {did_you_mean(min(unknown), known)}"
            )
        if lacking := needed - template.variables:
            raise InputError(f"prompt {template.name} does not ask for {min(lacking)!r}, which this style needs")
        return template

    @property
    def name(self) -> str:
        return self.template.name

    @property
    def prompt_hash(self) -> str:
        return self.template.hash
