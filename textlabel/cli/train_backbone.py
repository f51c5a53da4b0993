"""`textlabel train-backbone`: a backbone that has seen other label sets."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.backbone_training import named_sources
from textlabel.backbone_training import train_backbone as train
from textlabel.cli.complete import backbone_names, recipe_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json
from textlabel.labeler import DEFAULT_BACKBONE

_HELP = meanings(train)


def train_backbone(
    task: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FILE", help="A labeled corpus and what to call it. Repeat the option for several."
        ),
    ],
    out: Annotated[str, typer.Option(metavar="FOLDER", help=_HELP["out"])],
    backbone: Annotated[
        str, typer.Option(autocompletion=backbone_names, help=_HELP["backbone"])
    ] = DEFAULT_BACKBONE,
    recipe: Annotated[str, typer.Option(autocompletion=recipe_names, help=_HELP["recipe"])] = "episodic",
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = "label",
    pooling: Annotated[str, typer.Option(help=_HELP["pooling"])] = "",
    max_length: Annotated[int, typer.Option(min=0, help=_HELP["max_length"])] = 0,
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_HELP["on_bad_row"])] = "fail",
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = 0,
    checkpoint: Annotated[str, typer.Option(metavar="FOLDER", help=_HELP["checkpoint"])] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Train a backbone on several labeled tasks, for label sets that are none of theirs.

    \b
    Example:
      textlabel train-backbone --task emotions=emotions.jsonl --task intents=intents.csv --out start
      textlabel fit few.jsonl --backbone start --out model

    Writes a folder of weights, tokenizer and a record; no text, id or label of the tasks is in it.
    """
    found = train(
        named_sources(task),
        out=out,
        backbone=backbone,
        recipe=recipe,
        seed=seed,
        text_column=tuple(text_column),
        label_column=label_column,
        pooling=pooling or None,
        max_length=max_length or None,
        on_bad_row=on_bad_row,
        checkpoint=checkpoint or None,
    )
    say_json(found) if as_json else say(pairs(found))
