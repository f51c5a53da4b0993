"""`textlabel convert`: to a team's labeling tool, and labeled rows back."""

from __future__ import annotations

from typing import Annotated

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
    kind: Annotated[str, typer.Option(metavar="single|multi|score", help=_FROM["kind"])] = "",
    text_column: Annotated[str, typer.Option(help=f"With --from: {_FROM['text_column']}")] = "text",
    label_column: Annotated[str, typer.Option(help="The same of the label.")] = "label",
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
    rows that a team labeled, for `fit`
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
    back = FromTool(source, tool, out, kind, text_column, label_column)
    told = ToTool(source, to, out, sheet).run() if to else back.run()
    say_json(told) if as_json else say(pairs(told))
