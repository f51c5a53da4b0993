"""`textlabel convert`: to a team's labeling tool, and labeled rows back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json
from textlabel.errors import ExportError
from textlabel.exchange import FromTool, ToTool

_TO, _FROM = meanings(ToTool), meanings(FromTool)


def convert(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help=f"With --to: {_TO['source']} With --from: {_FROM['source']}"),
    ],
    out: Annotated[
        str, typer.Option(metavar="PATH", help=f"With --to: {_TO['out']} With --from: {_FROM['out']}")
    ],
    to: Annotated[str, typer.Option("--to", metavar="TOOL", help=_TO["to"])] = "",
    tool: Annotated[str, typer.Option("--from", metavar="TOOL", help=_FROM["tool"])] = "",
    sheet: Annotated[str, typer.Option(metavar="FILE", help=_TO["sheet"])] = "",
    classes: Annotated[
        str, typer.Option(metavar="NAME,NAME", help=f"{_TO['classes']} Parted by commas.")
    ] = "",
    kind: Annotated[
        str,
        typer.Option(
            metavar="single|multi|score", help=f"With --from: {_FROM['kind']} With --to: {_TO['kind']}"
        ),
    ] = "",
    text_column: Annotated[
        str, typer.Option(help="What holds the text, in the tool's project or the file.")
    ] = "text",
    label_column: Annotated[str, typer.Option(help="With --from: what holds the label.")] = "label",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Give annotations or a sheet to Label Studio, Argilla, doccano or Prodigy, and take labels from there.

    \b
    Example: people look through annotations, with the model's label proposed
      textlabel convert labeled --to label_studio --out tasks
      textlabel answers import labeled project-7.json --from label_studio

    \b
    an audit, without it
      textlabel convert labeled --sheet labeled/audit/sheet-1.csv --to argilla --out tasks
      textlabel audit import labeled answers.json --from argilla

    \b
    first labels, for `fit`
      textlabel convert texts.csv --to label_studio --classes good,bad --out tasks
      textlabel convert project-7.json --from label_studio --out labeled.csv

    Answers are matched by id and text. Skipped tasks are answers that decide nothing. Where several people
    answered a text, --from takes the majority, and leaves ties out.
    """
    if bool(to) == bool(tool):
        raise ExportError("expected either --to TOOL or --from TOOL")
    if tool and sheet:
        raise ExportError(
            "--sheet goes with --to; answers to a sheet: textlabel audit import DIR FILE --from TOOL"
        )
    names = tuple(name.strip() for name in classes.split(",")) if classes else ()
    back = FromTool(source, tool, out, kind, text_column, label_column)
    out_there = ToTool(source, to, out, sheet, names, kind or ToTool.kind, text_column)
    told = out_there.run() if to else back.run()
    say_json(told) if as_json else say(render(told))


def render(told: dict[str, Any]) -> str:
    """Return the result for people."""
    shown = told.get("labels_shown")
    return pairs(told if shown is None else {**told, "labels_shown": "yes" if shown else "no"})
