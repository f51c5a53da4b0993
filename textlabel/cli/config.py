"""Options of commands from a file: what a team settles once need not be typed each time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textlabel.errors import RecipeError, nearest
from textlabel.recipe import read_toml


def defaults(path: Path, ctx: Any) -> dict[str, Any]:
    """Return the options in a TOML file, in the form in which click takes defaults.

    Parameters
    ----------
    ctx : the context of the whole command line, which knows its commands; only the one that was called is
        imported, so only its options are looked at.

    Raises
    ------
    RecipeError
        if the file is no TOML, names what is no command, or what is no option of the command that was called.
    """
    told = read_toml(path)
    for name, table in told.items():
        if name not in ctx.command.commands:
            raise RecipeError(f"{path}: {name} is no command: {nearest(name, ctx.command.commands)}")
        if not isinstance(table, Mapping):
            raise RecipeError(f"{path}: {name} = {table!r}: expected a table, [{name}], of its options")
    return {
        name: _options(ctx.command.commands[name], table, f"{path}, [{name}]")
        if name == ctx.invoked_subcommand
        else table
        for name, table in told.items()
    }


def _options(command: Any, table: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return a table with the names of parameters, for a command or for those of a group."""
    if hasattr(command, "commands"):
        groups = {name: part for name, part in table.items() if name in command.commands}
        own = {name: value for name, value in table.items() if name not in groups}
        found = {n: _options(command.commands[n], part, f"{place[:-1]}.{n}]") for n, part in groups.items()}
        return {**_named(command, own, place, (*command.commands,)), **found}
    return _named(command, table, place)


def _named(
    command: Any, table: Mapping[str, Any], place: str, others: tuple[str, ...] = ()
) -> dict[str, Any]:
    options = {
        word.lstrip("-"): param.name
        for param in command.params
        if param.param_type_name == "option"
        for word in param.opts
    }
    found = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in options:
            raise RecipeError(f"{place}: {key} is no option: {nearest(name, (*options, *others))}")
        found[options[name]] = value
    return found
