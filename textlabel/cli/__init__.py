"""The command line: one module per command group; nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from textlabel.cli import annotate, backbones, demo, evaluate, fit, listing, run
from textlabel.cli.group import Commands
from textlabel.cli.output import log_to_stderr, pairs, say

app = typer.Typer(
    cls=Commands,
    name="textlabel",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)


def _version(wanted: bool) -> None:
    if wanted:
        from textlabel.report.record import versions

        say(pairs(versions()))
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell versions and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere in the line.")
    ] = False,
) -> None:
    """A few labels and a pile of text in; a labeled corpus you can defend out.

    Start with `textlabel demo`, then on your own files:

    \b
      textlabel fit labeled.csv --out model
      textlabel annotate unlabeled.csv --model model --out labeled
      textlabel evaluate labeled --gold gold.csv

    Results go to stdout (--json: as one JSON object), progress and messages to stderr.
    Exit codes: 0 done, 1 failed with one message, 2 wrong usage, 130 stopped.
    """
    log_to_stderr()


app.command("fit")(fit.fit)
app.command("annotate")(annotate.annotate)
app.command("evaluate")(evaluate.evaluate)
app.command("run")(run.run)
app.command("demo")(demo.demo)
app.add_typer(backbones.app, name="backbones")
app.command("recipes")(listing.recipes)
app.command("plugins")(listing.plugins)


def main() -> None:
    """Run the command line and exit."""
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # ours say it
    try:
        app(prog_name="textlabel")
    finally:
        _leave_process_group()


def _leave_process_group() -> None:
    """Part from the other processes of a launch; torch warns about those that just vanish."""
    if "torch.distributed" in sys.modules:
        import torch.distributed

        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
