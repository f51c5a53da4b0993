"""`textlabel taxonomy`: rename, merge, split and drop classes."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json
from textlabel.retaxonomy import ChangeTaxonomy

_HELP = meanings(ChangeTaxonomy)


def taxonomy(
    changes: Annotated[str, typer.Argument(metavar="CHANGES", help=_HELP["changes"])],
    labeled: Annotated[str, typer.Option(metavar="ROWS", help=_HELP["labeled"])],
    out: Annotated[str, typer.Option(metavar="PATH", help=_HELP["out"])],
    ask: Annotated[str, typer.Option(metavar="FILE", help=_HELP["ask"])] = "",
    answers: Annotated[str, typer.Option(metavar="FILE", help=_HELP["answers"])] = "",
    label_kind: Annotated[
        str, typer.Option(metavar="single|multi", help=_HELP["label_kind"])
    ] = ChangeTaxonomy.label_kind,
    text_column: Annotated[str, typer.Option(help=_HELP["text_column"])] = ChangeTaxonomy.text_column,
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = ChangeTaxonomy.label_column,
    id_column: Annotated[str, typer.Option(help=_HELP["id_column"])] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Rename, merge, split and drop classes; people relabel only the rows of classes that are split.

    \b
    Example: changes.toml
      drop = ["spam"]
      [rename]
      sport = "sports"
      [merge]
      news = ["politics", "economy"]
      [split]
      animal = ["cat", "dog"]

    \b
      textlabel taxonomy changes.toml --labeled old.csv --out part.csv --ask sheet.csv
      (people fill in the column `label` of sheet.csv)
      textlabel taxonomy changes.toml --labeled old.csv --answers sheet.csv --out new.csv
      textlabel diff old.csv new.csv

    Rows of dropped classes are left out. Of annotations, probabilities of merged classes add. A certificate
    stays true under renames and merges, for what was right stays right; a split or drop voids it.
    """
    told = ChangeTaxonomy(
        changes,
        labeled,
        out,
        ask=ask,
        answers=answers,
        label_kind=label_kind,
        text_column=text_column,
        label_column=label_column,
        id_column=id_column,
    ).run()
    say_json(told) if as_json else say(pairs(told))
