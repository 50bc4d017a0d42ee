"""Prompt templates: words from `prompts/<task>/<style>.md`, rendered strictly in jinja2's immutable sandbox.

A template is a `[system]` part and a `[user]` part. Item text goes in as values and is never itself a template.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llm_aug.data import Prompt
from llm_aug.errors import InputError, did_you_mean

_PARTS = re.compile(r"\A\[system\]\n(?P<system>.*?)^\[user\]\n(?P<user>.*)\Z", re.DOTALL | re.MULTILINE)
_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False)
_ENVIRONMENT.globals.clear()  # a wording calls no function, and each rendering copies them
_compile = lru_cache(maxsize=64)(_ENVIRONMENT.from_string)


@dataclass(frozen=True)
class Template:
    """hash: of the words, so that a changed wording is a changed recipe. variables: the names it asks for."""

    name: str
    system: str
    user: str
    hash: str
    variables: frozenset[str]

    def render(self, **values: Any) -> Prompt:
        """Raises InputError where a variable is missing or the template reaches for what the sandbox forbids."""
        try:
            system, user = (_compile(part).render(values).strip() for part in (self.system, self.user))
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"prompt {self.name}: {error}") from error
        return Prompt(system, user)


def prompts_folder() -> Path:
    """The installed package carries a copy of `prompts/`; a checkout uses the one beside it."""
    beside = Path(__file__).resolve().parent.parent / "prompts"
    return beside if beside.is_dir() else Path(__file__).resolve().parent / "prompts"


def styles(task: str) -> list[str]:
    return sorted(path.stem for path in (prompts_folder() / task).glob("*.md"))


def load_template(task: str, style: str) -> Template:
    """Loads `prompts/<task>/<style>.md`; a style that names a file (ends in .md) is loaded from that path."""
    path = Path(style) if style.endswith(".md") else prompts_folder() / task / f"{style}.md"
    if not path.is_file() or (not style.endswith(".md") and style not in styles(task)):
        raise InputError(f"task {task!r} has no style {style!r}; {did_you_mean(style, styles(task))}")
    try:
        text = path.read_text(encoding="utf-8-sig")  # reads any line end as \n
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error}") from error
    parts = _PARTS.match(text)
    if parts is None:
        raise InputError(f"{path}: a prompt has a line [system], words, a line [user], words")
    try:
        trees: list[nodes.Template] = [_ENVIRONMENT.parse(parts[name]) for name in ("system", "user")]
        variables = frozenset(name for tree in trees for name in find_undeclared_variables(tree))
    except TemplateError as error:
        raise InputError(f"{path}: {error}") from error
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Template(f"{task}/{Path(style).stem}", parts["system"], parts["user"], digest, variables)
