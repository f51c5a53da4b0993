"""`textlabel diff`: what differs between two versions of a corpus."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json, table
from textlabel.corpus_diff import Diff

_HELP = meanings(Diff)

#: pairs of labels, and characters of a text, that are shown to people; --json has them all
SHOWN, WIDTH = 10, 50


def diff(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help=_HELP["before"])],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The same of the later version.")],
    out: Annotated[str, typer.Option(metavar="FILE", help=_HELP["out"])] = "",
    label_kind: Annotated[
        str, typer.Option(metavar="single|multi|score", help=_HELP["label_kind"])
    ] = Diff.label_kind,
    text_column: Annotated[str, typer.Option(help=_HELP["text_column"])] = Diff.text_column,
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = Diff.label_column,
    id_column: Annotated[str, typer.Option(help=_HELP["id_column"])] = Diff.id_column,
    shown: Annotated[int, typer.Option(min=0, help=_HELP["shown"])] = Diff.shown,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Tell what differs between two versions of a corpus: rows, texts, labels, confidence.

    \b
    Example:
      textlabel diff labeled-in-may labeled-in-june --out changes.csv

    Rows are compared by id. The table tells which labels became which.
    """
    told = Diff(
        before,
        after,
        out,
        label_kind=label_kind,
        text_column=text_column,
        label_column=label_column,
        id_column=id_column,
        shown=shown,
    ).run()
    say_json(told) if as_json else say(render(told))


def render(told: dict[str, Any]) -> str:
    """Return the difference for people."""
    parts = [pairs({name: told[name] for name in told if name not in ("confusion", "samples")})]
    if told["confusion"]:
        rows = [
            (str(one["before"]), str(one["after"]), f"{one['rows']:,}") for one in told["confusion"][:SHOWN]
        ]
        parts.append(table([("label before", "after", "rows"), *rows]))
    found = [row for rows in told["samples"].values() for row in rows]
    if found:
        cells = [
            (row["change"], row["id"], f"{row['label_before']} -> {row['label']}", _short(row))
            for row in found
        ]
        parts.append(table([("change", "id", "label", "text"), *cells]))
    return "\n\n".join(parts)


def _short(row: dict[str, Any]) -> str:
    text = " ".join((row["text"] if row["text"] is not None else row["text_before"] or "").split())
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
