"""`textlabel review`: people answer rows, on a page of this machine or in a shell."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json
from textlabel.review.terminal import visible
from textlabel.reviewing import Review

_HELP = meanings(Review)


def review(
    annotations: Annotated[str, typer.Argument(metavar="DIR", help=_HELP["annotations"])],
    audit: Annotated[bool, typer.Option("--audit", help=_HELP["audit"])] = False,
    every: Annotated[bool, typer.Option("--all", help=_HELP["every"])] = False,
    reviewer: Annotated[str, typer.Option(metavar="NAME", help=_HELP["reviewer"])] = "",
    guidelines: Annotated[str, typer.Option(metavar="FILE", help=_HELP["guidelines"])] = "",
    model: Annotated[str, typer.Option(metavar="MODEL", help=_HELP["model"])] = "",
    neighbors: Annotated[str, typer.Option(metavar="FILE", help=_HELP["neighbors"])] = "",
    rules: Annotated[
        list[str], typer.Option(metavar="FILE", help=f"{_HELP['rules']} Repeat the option for several.")
    ] = [],  # noqa: B006 - typer copies it
    count: Annotated[int, typer.Option(min=1, help=_HELP["count"])] = Review.count,
    port: Annotated[int, typer.Option(min=0, max=65535, help=_HELP["port"])] = Review.port,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help=_HELP["browser"])] = True,
    terminal: Annotated[bool, typer.Option("--terminal", help="Ask in this shell instead.")] = False,
    disagreements: Annotated[
        bool, typer.Option("--disagreements", help="List rows that reviewers answered differently, and end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Answer rows of an annotated corpus: one key a label, every answer on disk before the next row.

    \b
    Example:
      textlabel audit draw labeled --size 300
      textlabel review labeled --audit --reviewer Ann
      textlabel certify labeled --max-error 0.05
      textlabel review labeled                          # what people must still label
      textlabel finish labeled --out finished
      textlabel review loop                             # rows that `textlabel loop start` may ask

    The page is served on this machine alone, under an address with a secret in it, until Ctrl-C. It needs
    no network. Answers are those of `textlabel audit import` and `textlabel answers import`; sheets and pages
    may be mixed. Over ssh use --terminal, or forward the port.
    """
    step = Review(
        annotations,
        audit=audit,
        every=every,
        reviewer=reviewer,
        guidelines=guidelines,
        model=model,
        neighbors=neighbors,
        rules=tuple(rules),
        count=count,
        port=port,
        browser=browser,
    )
    if disagreements:
        found = step.disagreements()
        say_json({"rows": found}) if as_json else say("\n\n".join(map(_differ, found)) or "no disagreement")
        return
    if terminal:
        told = step.in_terminal()
    else:
        server = step.server()
        typer.echo(f"{server.url}\n(Ctrl-C ends it)", err=as_json)
        told = step.serve(server)
    say_json(told) if as_json else say(pairs(told))


def _differ(row: dict[str, object]) -> str:
    said = row["said"]
    assert isinstance(said, dict)
    told = ", ".join(f"{who or 'unnamed'}: {label}" for who, label in said.items())
    return visible(f"{row['text']}\n  {told}")
