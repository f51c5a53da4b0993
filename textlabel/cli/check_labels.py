"""`textlabel check-labels`: which given labels are likely wrong."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from textlabel.cli.complete import backbone_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json, table
from textlabel.label_check import CheckLabels

_HELP = meanings(CheckLabels)

#: pairs of classes that are shown to people; --json has them all
SHOWN = 10


def check_labels(
    train: Annotated[str, typer.Argument(metavar="TRAIN", help=_HELP["train"])],
    out: Annotated[str, typer.Option(metavar="FILE", help=_HELP["out"])],
    backbone: Annotated[
        str, typer.Option(autocompletion=backbone_names, help=_HELP["backbone"])
    ] = CheckLabels.backbone,
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = CheckLabels.label_column,
    id_column: Annotated[str, typer.Option(help=_HELP["id_column"])] = "",
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = CheckLabels.seed,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help=_HELP["cache"])] = True,
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_HELP["on_bad_row"])] = "fail",
    reject_file: Annotated[str, typer.Option(metavar="FILE", help=_HELP["reject_file"])] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """List the labeled rows whose label is likely wrong, for a person to look through.

    \b
    Example:
      textlabel check-labels labeled.csv --out suspicious.csv

    Heads that did not train on a row are asked for its class (confident learning, by cleanlab; needs
    `pip install 'textlabel[cleanlab]'`). The list has id, text, given label, suggested label, and the
    probability of the given label, lowest first. The estimated share of wrong labels is too high by what
    the heads themselves get wrong: where they agree with few labels, read the list, and do not believe the
    share. One text with several labels: `textlabel conflicts`. To train without these rows: `textlabel fit
    --noisy-labels prune`.
    """
    told = CheckLabels(
        train,
        out,
        backbone=backbone,
        text_column=tuple(text_column),
        label_column=label_column,
        id_column=id_column,
        seed=seed,
        cache=cache,
        on_bad_row=on_bad_row,
        reject_file=reject_file,
    ).run()
    say_json(told) if as_json else say(render(told))


def render(told: dict[str, Any]) -> str:
    """Return the numbers for people, with the most frequent pairs of given and likely class."""
    confusion = told["confusion"][:SHOWN]
    lines = pairs({name: value for name, value in told.items() if name != "confusion"})
    if not confusion:
        return lines
    rows = [(pair["given"], pair["likely"], f"{pair['share']:.1%}") for pair in confusion]
    return f"{lines}\n\n{table([('given', 'likely', 'share of rows'), *rows])}"
