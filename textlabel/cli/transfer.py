"""`textlabel transfer`: whether labels of one domain help on another."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from textlabel.cli.complete import backbone_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json, table
from textlabel.transfer import Transfer

_HELP = meanings(Transfer)


def transfer(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=_HELP["source"])],
    unlabeled: Annotated[str, typer.Option(metavar="CORPUS", help=_HELP["unlabeled"])],
    gold: Annotated[str, typer.Option(metavar="FILE", help=_HELP["gold"])] = "",
    recipes: Annotated[
        str, typer.Option(metavar="NAME,NAME", help=f"{_HELP['recipes']} Parted by commas.")
    ] = "auto",
    backbone: Annotated[str, typer.Option(autocompletion=backbone_names, help=_HELP["backbone"])] = str(
        Transfer.backbone
    ),
    class_shares: Annotated[
        str, typer.Option(metavar="NAME=SHARE,...|labeled", help=_HELP["class_shares"])
    ] = "",
    by: Annotated[str, typer.Option(metavar="COLUMN", help=_HELP["by"])] = "",
    source_by: Annotated[str, typer.Option(metavar="COLUMN", help=_HELP["source_by"])] = "",
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = Transfer.label_column,
    budget: Annotated[str, typer.Option(metavar="TIME", help=_HELP["budget"])] = Transfer.budget,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help=_HELP["cache"])] = True,
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_HELP["on_bad_row"])] = "fail",
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = Transfer.seed,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Tell whether labels of one domain help on another, every way side by side.

    \b
    Example:
      textlabel transfer films.csv --unlabeled products.csv
      textlabel transfer films.csv --unlabeled products.csv --gold few.csv --recipes auto,dann --by brand

    Source only is a head on the frozen backbone; no transfer is TF-IDF on the same labels; each recipe also
    reads the target's texts. With gold, which are labeled rows of the target drawn at random, target only
    learns from these alone, each row judged by a model of other folds, and every variant is compared with
    source only on them: what makes it worse is called negative transfer. Without gold there are estimates,
    which promise nothing. Writes nothing but features, to the cache.
    """
    told = Transfer(
        source,
        unlabeled,
        gold,
        recipes=tuple(name.strip() for name in recipes.split(",")) if recipes else (),
        backbone=backbone,
        class_shares=class_shares,
        by=by,
        source_by=source_by,
        text_column=tuple(text_column),
        label_column=label_column,
        budget=budget,
        cache=cache,
        on_bad_row=on_bad_row,
        seed=seed,
    ).run()
    say_json(told) if as_json else say(render(told))


def render(told: dict[str, Any]) -> str:
    """Return the tables for people, and what they promise."""
    tables = ("variants", "slices", "parts", "promises")
    parts = [pairs({key: value for key, value in told.items() if key not in tables and value != 0})]
    parts.append(_variants(told["variants"], bool(told["gold_rows"])))
    if "slices" in told:
        parts.append(_slices(told["slices"]))
    if "parts" in told:
        parts.append(_parts(told["parts"], bool(told["gold_rows"])))
    return "\n\n".join([*parts, "\n".join(told["promises"])])


def _variants(lines: list[dict[str, Any]], gold: bool) -> str:
    headings = ["variant", "on source", "estimate without labels"]
    headings += ["on gold rows", "accepted", "points to source only"] if gold else []
    rows = []
    for one in lines:
        row = [one["variant"], _share(one["accuracy_on_source"]), _estimate(one["estimate"])]
        if gold:
            row += [_accuracy(one), _share(one.get("fraction_accepted")), _points(one.get("difference"))]
        rows.append([*row, f"{one['seconds']:.1f}", one["verdict"]])
    return table([[*headings, "seconds", "verdict"], *rows])


def _slices(slices: list[dict[str, Any]]) -> str:
    headings = ("slice", "rows", "variant", "wrong", "error", "accepted", "points to source only")
    rows = [
        (
            *((one["slice"], f"{one['rows']:,}") if i == 0 else ("", "")),
            *(line["variant"], f"{line['wrong']:,}", _share(line["error"])),
            *(_share(line["fraction_accepted"]), _points(line["difference"])),
        )
        for one in slices
        for i, line in enumerate(one["variants"])
    ]
    return table([headings, *rows])


def _parts(parts: list[dict[str, Any]], gold: bool) -> str:
    kind = "on gold rows" if gold else "estimated"
    headings = ("part of the source", "rows", f"alone, {kind}", f"without it, {kind}", "verdict")
    rows = [
        (
            *(one["part"], f"{one['rows']:,}", _share(one["alone"]), _share(one["without"])),
            "; ".join(filter(None, (one["verdict"], one["note"] and f"alone: {one['note']}"))),
        )
        for one in parts
    ]
    return table([headings, *rows])


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _estimate(found: dict[str, Any] | None) -> str:
    return "" if found is None else f"{found['accuracy']:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def _accuracy(one: dict[str, Any]) -> str:
    return "" if "accuracy" not in one else f"{one['accuracy']:.1%} ({one['low']:.1%} to {one['high']:.1%})"


def _points(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    value, low, high = (100 * found[key] for key in ("value", "low", "high"))
    return f"{value:+z.1f} ({low:+z.1f} to {high:+z.1f})"
