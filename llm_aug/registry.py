"""Tables that say where a named class stands, as "module:attribute", so that to know a name imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from llm_aug.errors import InputError, did_you_mean


def named(what: str, name: str, table: Mapping[str, str]) -> Any:
    """What stands there. what: for the InputError about a name that the table does not have."""
    if name not in table:
        raise InputError(f"no {what} {name!r}; {did_you_mean(name, table)}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)


def check_options(owner: str, options: Iterable[str], make: Any) -> set[str]:
    """The fields of a dataclass. Raises InputError for an option that is none of them."""
    known = {field.name for field in fields(make)}
    if unknown := sorted(set(options) - known):
        raise InputError(f"{owner} has no option {unknown[0]!r}; {did_you_mean(unknown[0], known)}")
    return known


def typed(owner: str, options: Mapping[str, Any], make: Any) -> Any:
    """The dataclass made with its options in the types that it declares. Raises InputError, which begins with owner."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(make).validate_python(options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{owner}{where} is {first['input']!r}: {first['msg'].lower()}") from error
