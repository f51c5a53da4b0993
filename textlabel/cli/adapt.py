"""`textlabel adapt`: a model goes on to texts of another domain, and no label is read."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.adapting import Adapt
from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json
from textlabel.types import Summary

_HELP = meanings(Adapt)


def adapt(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_HELP["model"], show_default=False)],
    unlabeled: Annotated[str, typer.Option(metavar="CORPUS", help=_HELP["unlabeled"])],
    out: Annotated[str, typer.Option(metavar="MODEL2", help=_HELP["out"])],
    recipe: Annotated[str, typer.Option(metavar="shot|tent|PATH", help=_HELP["recipe"])] = Adapt.recipe,
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    id_column: Annotated[str, typer.Option(help=_HELP["id_column"])] = "",
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = Adapt.seed,
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_HELP["on_bad_row"])] = "fail",
    reject_file: Annotated[str, typer.Option(metavar="FILE", help=_HELP["reject_file"])] = "",
    self_contained: Annotated[bool, typer.Option("--self-contained", help=_HELP["self_contained"])] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Let a model go on to texts without labels; nothing but the model is needed of where it was fitted.

    \b
    Example:
      textlabel fit films.csv --out model               # there
      textlabel adapt model --unlabeled products.csv --recipe shot --out model2      # here
      textlabel annotate products.csv --model model2 --out labeled

    The head stays, the body moves. Whether labels get better nobody can tell without labels of the target,
    and confidence is not calibrated any more: no row is accepted unless `annotate` is given --min-confidence.
    Audits tell how many labels are wrong. If it is killed, the same command goes on from the checkpoint
    beside MODEL2.
    """
    step = Adapt(
        model=model,
        unlabeled=unlabeled,
        out=out,
        recipe=recipe,
        text_column=tuple(text_column),
        id_column=id_column,
        seed=seed,
        on_bad_row=on_bad_row,
        reject_file=reject_file,
        self_contained=self_contained,
    )
    summary = step.run()
    if as_json:
        say_json(summary)
    else:
        say(f"{render(summary)}\n\nnext: textlabel annotate {unlabeled} --model {out} --out labeled")


def render(summary: Summary) -> str:
    """Return the summary of an adaptation for people."""
    labels = summary["labels"]
    moved = [f"{name} {count} -> {labels['after'][name]}" for name, count in labels["before"].items()]
    return pairs({**summary, "labels": moved, "labels that changed": labels["changed"], "calibrated": "no"})
