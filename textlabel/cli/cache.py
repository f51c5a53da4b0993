"""`textlabel cache`: which features are kept for the next model, and away with them."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

import typer

from textlabel.cli.output import pairs, say, say_json, table

app = typer.Typer(rich_markup_mode=None)

_HEADINGS = ("backbone", "backend", "rows", "MB", "last used")


@app.callback(invoke_without_command=True)
def cache(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Tell which features of texts are kept, so that the next model on the same body need not compute them.

    `fit` and `annotate` look there first; --no-cache keeps them from it. Features are found by a hash of
    the text, so the folder holds no text; but they tell much about it, so treat them like the texts.

    The folder is TEXTLABEL_CACHE (default: features below TEXTLABEL_HOME, or in your cache folder). It
    keeps TEXTLABEL_CACHE_GB gigabytes (default: 4; 0: nothing), and what was used longest ago goes first.

    \b
    Example:
      textlabel cache
      textlabel cache clear
    """
    if context.invoked_subcommand is not None:
        return
    from textlabel.engine.feature_cache import cache_folder, limit

    folder, spaces = cache_folder(), _spaces()
    size = sum(space["bytes"] for space in spaces)
    told = {"folder": None if folder is None else str(folder), "bytes": size, "limit": limit()}
    if as_json:
        say_json({**told, "spaces": spaces})
        return
    if folder is None:
        say("no cache: TEXTLABEL_CACHE_GB is 0")
        return
    say(pairs({"folder": told["folder"], "MB": size / 1e6, "limit_MB": limit() / 1e6}))
    if spaces:
        say("\n" + table([_HEADINGS, *map(_cells, spaces)]))


@app.command("clear")
def clear(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Delete all features that are kept.

    \b
    Example:
      textlabel cache clear
    """
    from textlabel.engine import segments
    from textlabel.engine.feature_cache import cache_folder

    size = sum(space["bytes"] for space in _spaces())
    if (folder := cache_folder()) is not None:
        segments.shrink(folder, 0)
    say_json({"deleted_bytes": size}) if as_json else say(f"deleted {size / 1e6:,.1f} MB")


def _spaces() -> list[dict[str, Any]]:
    """Return what each folder of the cache holds."""
    from textlabel.engine import segments
    from textlabel.engine.feature_cache import cache_folder

    root = cache_folder()
    found = []
    for folder in [] if root is None else segments.spaces(root):
        if kept := segments.read(folder):
            used = max(segment.used for segment in kept)
            rows, size = sum(map(len, kept)), sum(segment.bytes for segment in kept)
            day = datetime.datetime.fromtimestamp(used, tz=datetime.UTC).date().isoformat()
            found.append({**kept[0].tells, "rows": rows, "bytes": size, "last_used": day})
    return found


def _cells(space: dict[str, Any]) -> tuple[str, ...]:
    size = f"{space['bytes'] / 1e6:,.1f}"
    return (space["backbone"], space["backend"], f"{space['rows']:,}", size, space["last_used"])
