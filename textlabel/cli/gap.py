"""`textlabel gap`: how far apart two corpora are."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.cli.complete import backbone_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json
from textlabel.gap import Gap

_HELP = meanings(Gap)


def gap(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=_HELP["source"])],
    target: Annotated[str, typer.Argument(metavar="TARGET", help=_HELP["target"])],
    backbone: Annotated[str, typer.Option(autocompletion=backbone_names, help=_HELP["backbone"])] = "",
    model: Annotated[str, typer.Option(metavar="MODEL", help=_HELP["model"])] = "",
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    source_split: Annotated[str, typer.Option(help=_HELP["source_split"])] = "",
    target_split: Annotated[str, typer.Option(help=_HELP["target_split"])] = "",
    source_config: Annotated[str, typer.Option(help=_HELP["source_config"])] = "",
    target_config: Annotated[str, typer.Option(help=_HELP["target_config"])] = "",
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_HELP["on_bad_row"])] = "fail",
    reject_file: Annotated[str, typer.Option(metavar="FILE", help=_HELP["reject_file"])] = "",
    max_rows: Annotated[int, typer.Option(help=_HELP["max_rows"])] = Gap.max_rows,
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = Gap.seed,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Tell how far apart two corpora are, without labels.

    \b
    Example:
      textlabel gap labeled.csv unlabeled.csv

    A classifier learns to tell the two by their features, and is judged on rows that it did not see. The
    proxy A-distance, with its standard error, is 0 where it can only guess and 2 where it always knows;
    the AUC is the probability that a row of the target looks more like the target than one of the source
    does. Of words that the backbone's vocabulary does not know there are more tokens per word, and unknown
    ones. Writes nothing but the reject file.
    """
    told = Gap(
        source,
        target,
        backbone=backbone,
        model=model,
        text_column=tuple(text_column),
        source_split=source_split,
        target_split=target_split,
        source_config=source_config,
        target_config=target_config,
        on_bad_row=on_bad_row,
        reject_file=reject_file,
        max_rows=max_rows,
        seed=seed,
    ).run()
    say_json(told) if as_json else say(pairs(told))
