"""`textlabel scan`: personal data in a corpus, before it is published."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import say, say_json, table
from textlabel.redaction import Scan

_HELP = meanings(Scan)


def scan(
    corpus: Annotated[str, typer.Argument(metavar="CORPUS", help=_HELP["corpus"])],
    redact: Annotated[str, typer.Option(metavar="FILE", help=_HELP["redact"])] = "",
    names: Annotated[str, typer.Option(metavar="MODEL", help=_HELP["names"])] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Look for personal data in a corpus before you publish it.

    \b
    Example:
      textlabel scan labeled --redact clean.csv
      textlabel scan labeled --names dslim/bert-base-NER --redact clean.csv

    All columns are looked at. Found by form and check digits: e-mail addresses, phone numbers, payment
    cards, IBANs and IP addresses. Examples are masked. Names of people are found with a model that marks
    them (--names), as well as that model does; postal addresses are not found, so an empty list is no proof.
    `annotate --push-to-hub` looks by itself, and refuses.
    """
    told = Scan(corpus, redact=redact, names=names).run()
    say_json(told) if as_json else say(render(told))


def render(told: dict[str, Any]) -> str:
    """Return what was found, for people."""
    first = f"{told['rows_with_any']} of {told['rows']} rows seem to hold personal data"
    rows = [
        (kind, str(count), ", ".join(told["examples"][kind]))
        for kind, count in told["rows_with"].items()
        if count
    ]
    lines = [first, *([table([("kind", "rows", "such as"), *rows])] if rows else [])]
    if told["ids"]:
        lines.append(f"ids of {told['ids']} rows hold some: rename them, for --redact keeps ids")
    if told["redacted"]:
        lines.append(f"redacted: {told['redacted']}")
    return "\n\n".join(lines)
