"""`textlabel extend-vocabulary`: a backbone with tokens for the words of a domain."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.cli.complete import backbone_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json
from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.vocabulary_extension import extend_vocabulary as extend

_HELP = meanings(extend)


def extend_vocabulary(
    texts: Annotated[str, typer.Argument(metavar="TEXTS", help=_HELP["texts"])],
    out: Annotated[str, typer.Option(metavar="FOLDER", help=_HELP["out"])],
    backbone: Annotated[
        str, typer.Option(autocompletion=backbone_names, help=_HELP["backbone"])
    ] = DEFAULT_BACKBONE,
    tokens: Annotated[int, typer.Option(help=_HELP["tokens"])] = 200,
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_HELP["on_bad_row"])] = "fail",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Give a backbone tokens for words that its vocabulary breaks into many pieces.

    \b
    Example:
      textlabel extend-vocabulary products.csv --tokens 200 --out grown
      textlabel fit films.csv --backbone grown --recipe tapt --unlabeled products.csv --out model

    A new token begins as the mean of its pieces, so it is worth something once the body is trained. The
    folder, and every model fitted on it, holds the words, which are of your texts.
    """
    found = extend(
        texts,
        out=out,
        backbone=backbone,
        tokens=tokens,
        text_column=tuple(text_column),
        on_bad_row=on_bad_row,
    )
    say_json(found) if as_json else say(pairs(found))
