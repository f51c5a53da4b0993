"""`textlabel evaluate`: how well annotations agree with gold labels."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import say, say_json
from textlabel.steps import Evaluate

_HELP = meanings(Evaluate)


def evaluate(
    annotations: Annotated[str, typer.Argument(metavar="DIR", help=_HELP["annotations"])],
    gold: Annotated[str, typer.Option(metavar="FILE", help=_HELP["gold"])],
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = Evaluate.label_column,
    label_separator: Annotated[str, typer.Option(metavar="SIGN", help=_HELP["label_separator"])] = "",
    id_column: Annotated[str, typer.Option(help=_HELP["id_column"])] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Compare annotated rows with gold labels.

    \b
    Example:
      textlabel evaluate labeled --gold gold.csv --json

    Rows are joined by id, so gold may cover a part of the corpus. Tells accuracy, macro-F1 (where rows may
    carry several classes, also micro-F1, how many sets are exactly right, and the share of wrong answers) and
    the classes one by one; how far confidence can be believed (ECE in equal-mass bins with a bootstrap
    interval, Brier score, log-likelihood); and the fraction of rows that could be accepted at 95 % and
    99 % precision. Writes nothing.
    """
    step = Evaluate(annotations, gold, label_column, label_separator, id_column)
    if as_json:
        say_json(step.run())
    else:
        say(render(step))


def render(step: Evaluate) -> str:
    """Return what an evaluation finds for people, of several tasks each under its name."""
    found = step.evaluations().items()
    return "\n\n".join(f"[{task}]\n{one.render()}" if task else one.render() for task, one in found)
