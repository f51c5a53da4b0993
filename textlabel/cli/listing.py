"""`textlabel recipes` and `textlabel plugins`: what there is to choose from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from textlabel import registry
from textlabel.cli.keys import Key, first_line, keys
from textlabel.cli.output import say, say_json, table
from textlabel.errors import RecipeError, nearest

#: kinds of plugins that a stage of a recipe chooses
_OF_A_STAGE = ("tune", "objective", "augment")


def recipes(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Print this recipe's TOML.")] = "",
    all_keys: Annotated[
        bool, typer.Option("--keys", help="List every key of a stage and every plugin's options.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the shipped recipes, print one, or explain every key.

    A recipe is a list of stages; a stage says what trains (tune), what it minimizes (objective) and on
    which rows. To make your own, write a changed one to a file and give its path:

    \b
      textlabel recipes lora > mine.toml
      textlabel fit labeled.csv --recipe mine.toml --out model
    """
    if all_keys:
        told = _all_keys()
        say_json(told) if as_json else say(_render_keys(told))
    elif name:
        recipe = _shipped(name)
        say_json(recipe.to_dict()) if as_json else say(_toml(name).read_text(encoding="utf-8").rstrip())
    else:
        from textlabel.recipe import shipped

        known = {each: _shipped(each).description for each in shipped()}
        say_json(known) if as_json else say(table(list(known.items())))


def plugins(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="List this kind only.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the plugins of each kind, without importing them.

    A plugin is one file: `textlabel/KIND/NAME.py`, or a module of your own package that it announces
    under the entry point group `textlabel.KIND`.

    \b
    Example:
      textlabel plugins tune
    """
    found = {each: registry.plugins(each) for each in ([kind] if kind else registry.KINDS)}
    if as_json:
        say_json(found)
    else:
        say(table([(each, name, place) for each, names in found.items() for name, place in names.items()]))


def _toml(name: str) -> Path:
    from textlabel.recipe import shipped

    known = shipped()
    if name not in known:
        raise RecipeError(f"no shipped recipe is called {name!r}: {nearest(name, known)}")
    return known[name]


def _shipped(name: str) -> Any:
    from textlabel.recipe import Recipe

    return Recipe.load(_toml(name))


def _all_keys() -> dict[str, dict[str, Any]]:
    """Return {"stage": keys, "tune": {plugin: keys}, "objective": {...}, "augment": {...}}."""
    from textlabel.recipe import Stage, Training

    stage = [key for key in keys(Stage) if key.name != "training"] + keys(Training)
    told: dict[str, dict[str, Any]] = {"stage": _entry(Stage, stage)}
    for kind in _OF_A_STAGE:
        told[kind] = {}
        for name in registry.plugins(kind):
            module = registry.load(kind, name)
            told[kind][name] = _entry(module, keys(module.Options))
    return told


def _entry(thing: Any, found: list[Key]) -> dict[str, Any]:
    return {"summary": first_line(thing), "keys": [vars(key) for key in found]}


def _render_keys(told: dict[str, dict[str, Any]]) -> str:
    parts = [_section("[[stage]]", told["stage"])]
    for kind in _OF_A_STAGE:
        for name, entry in told[kind].items():
            parts.append(_section(f'{kind} = {{ name = "{name}", ... }}', entry))
    return "\n\n".join(parts)


def _section(title: str, entry: dict[str, Any]) -> str:
    rows = [(f"  {key['name']}", key["default"], key["meaning"]) for key in entry["keys"]]
    return "\n".join([f"{title}   {entry['summary']}", *([table(rows)] if rows else [])])
