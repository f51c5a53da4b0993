"""The whole command line, put together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textlabel.cli.commands import All
from textlabel.cli.output import log_to_stderr, pairs, say

app = typer.Typer(
    cls=All,
    name="textlabel",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


def _version(wanted: bool) -> None:
    if wanted:
        from textlabel.report.record import versions

        say(pairs(versions()))
        raise typer.Exit


@app.callback()
def start(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell versions and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere in the line.")
    ] = False,
    config: Annotated[
        str,
        typer.Option(metavar="FILE.toml", help="File with options of commands; works anywhere in the line."),
    ] = "",
    tracker: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="Send losses to tensorboard (folder runs), wandb, trackio or another that Accelerate knows; "
            "works anywhere in the line. Repeat the option for several.",
        ),
    ] = [],  # noqa: B006 - typer copies it
) -> None:
    """A few labels and a pile of text in; a labeled corpus you can defend out.

    Start with `textlabel demo`, then on your own files:

    \b
      textlabel fit labeled.csv --out model
      textlabel annotate unlabeled.csv --model model --out labeled
      textlabel evaluate labeled --gold gold.csv

    \b
    and, for labels that you can defend:

    \b
      textlabel audit draw labeled --size 300
      textlabel audit import labeled labeled/audit/sheet-1.csv
      textlabel certify labeled --max-error 0.05
      textlabel todo labeled
      textlabel answers import labeled labeled/audit/todo-1.csv
      textlabel finish labeled --out finished

    A file for --config has a table for each command, such as `[fit]` or `[audit.draw]`, with its options,
    such as `label-column = "stars"`. What the line says comes first; paths are as on the line.

    \b
    Environment variables:
      TEXTLABEL_HOME      where backbones, unfinished runs and kept features lie (~/.cache/textlabel)
      TEXTLABEL_CACHE     where kept features lie instead
      TEXTLABEL_CACHE_GB  how much they may take
      HF_TOKEN, HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE  as huggingface_hub reads them

    Results go to stdout (--json: as one JSON object), progress and messages to stderr.
    Exit codes: 0 done, 1 failed with one message, 2 wrong usage, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    log_to_stderr()
    if tracker:
        from textlabel.engine.tracking import tracked

        ctx.with_resource(tracked(*tracker))
    if config:
        from textlabel.cli.config import defaults

        ctx.default_map = defaults(Path(config), ctx)
