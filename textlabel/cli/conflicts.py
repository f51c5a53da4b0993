"""`textlabel conflicts`: one text, or nearly one, and different labels."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json
from textlabel.label_conflicts import Conflicts

_HELP = meanings(Conflicts)


def conflicts(
    labeled: Annotated[str, typer.Argument(metavar="LABELED", help=_HELP["labeled"])],
    out: Annotated[str, typer.Option(metavar="FILE", help=_HELP["out"])],
    near: Annotated[float, typer.Option(help=_HELP["near"])] = Conflicts.near,
    label_kind: Annotated[str, typer.Option(metavar="single|multi", help=_HELP["label_kind"])] = "single",
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = Conflicts.label_column,
    id_column: Annotated[str, typer.Option(help=_HELP["id_column"])] = "",
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_HELP["on_bad_row"])] = "fail",
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """List labeled rows that contradict each other: one text, or nearly one, with different labels.

    \b
    Example:
      textlabel conflicts labeled.csv --out conflicts.csv

    Rows of one group belong together: first those with the same text (but for case and white space), then
    pairs of texts that share most of their character 5-grams, the nearest first. Labels that are wrong
    for other reasons: `textlabel check-labels`.
    """
    told = Conflicts(
        labeled,
        out,
        near=near,
        label_kind=label_kind,
        text_column=tuple(text_column),
        label_column=label_column,
        id_column=id_column,
        on_bad_row=on_bad_row,
    ).run()
    say_json(told) if as_json else say(pairs(told))
