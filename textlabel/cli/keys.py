"""What each key of a recipe or job means, read from the docstring of the dataclass that takes it."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, dataclass, fields
from typing import Any

_ENTRY = re.compile(r"(?P<names>\w+(?:, \w+)*) : (?P<meaning>.+)")


@dataclass(frozen=True)
class Key:
    """One key: its name, its default as TOML writes it ("required" or "unset" if none), and its meaning."""

    name: str
    default: str
    meaning: str


def keys(cls: type[Any]) -> list[Key]:
    """Return the keys of a dataclass, in order.

    Examples
    --------
    >>> from textlabel.tune.head import Options
    >>> keys(Options)[1].name, keys(Options)[1].default
    ('folds', '5')
    """
    told = meanings(cls)
    only = first_line(cls)  # a class with a single key may say it all in its first line
    return [Key(f.name, _default(f.default), told.get(f.name, only)) for f in fields(cls)]


def meanings(thing: Any) -> dict[str, str]:
    """Return ``{key: meaning}`` from the Parameters section of a numpy docstring, of a class or function.

    Examples
    --------
    >>> class Toy:
    ...     '''A toy.
    ...
    ...     Parameters
    ...     ----------
    ...     a, b : numbers
    ...         of any size.
    ...     '''
    >>> meanings(Toy)
    {'a': 'numbers of any size.', 'b': 'numbers of any size.'}
    """
    _, _, section = (inspect.getdoc(thing) or "").replace("``", "`").partition("Parameters\n----------\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.split("\n\n")[0].splitlines():
        if entry := _ENTRY.fullmatch(line):
            names = entry["names"].split(", ")
            found |= dict.fromkeys(names, entry["meaning"])
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def first_line(thing: Any) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(thing) or "").replace("``", "`").partition("\n")[0]


def _default(value: Any) -> str:
    if value is MISSING:
        return "required"
    if value is None:
        return "unset"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(_default, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
