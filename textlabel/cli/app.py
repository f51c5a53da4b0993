"""The whole command line, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.cli import audit, backbones, cache, choose, loop, rules
from textlabel.cli.adapt import adapt
from textlabel.cli.agreement import agreement
from textlabel.cli.annotate import annotate
from textlabel.cli.certify import certify, finish, plan, shares, todo
from textlabel.cli.check_labels import check_labels
from textlabel.cli.clusters import clusters
from textlabel.cli.conflicts import conflicts
from textlabel.cli.convert import convert
from textlabel.cli.demo import demo
from textlabel.cli.diff import diff
from textlabel.cli.evaluate import evaluate
from textlabel.cli.extend_vocabulary import extend_vocabulary
from textlabel.cli.fit import fit
from textlabel.cli.fit_sources import fit_sources
from textlabel.cli.gap import gap
from textlabel.cli.group import Commands, Several
from textlabel.cli.listing import plugins, recipes
from textlabel.cli.map_labels import map_labels
from textlabel.cli.optimize import optimize
from textlabel.cli.output import log_to_stderr, pairs, say
from textlabel.cli.push import push
from textlabel.cli.report import report
from textlabel.cli.review import review
from textlabel.cli.run import run
from textlabel.cli.scan import scan
from textlabel.cli.simulate import simulate
from textlabel.cli.taxonomy import taxonomy
from textlabel.cli.train_backbone import train_backbone
from textlabel.cli.transfer import transfer
from textlabel.cli.why import why

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

    \b
    and, for labels that you can defend:

    \b
      textlabel audit draw labeled --size 300
      textlabel audit import labeled labeled/audit/sheet-1.csv
      textlabel certify labeled --max-error 0.05
      textlabel todo labeled
      textlabel answers import labeled labeled/audit/todo-1.csv
      textlabel finish labeled --out finished

    Results go to stdout (--json: as one JSON object), progress and messages to stderr.
    Exit codes: 0 done, 1 failed with one message, 2 wrong usage, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    log_to_stderr()


for command in (
    *(fit, adapt, optimize, annotate, plan, certify, todo, finish, shares, evaluate, gap, transfer),
    *(check_labels, conflicts, agreement, diff, taxonomy, convert, clusters, why, review, report, scan),
    push,
    *(run, demo, recipes, plugins),
):
    app.command()(command)
app.command("simulate", cls=Several)(simulate)
app.command("choose-backbone", cls=Several)(choose.backbone)
app.command("choose-source", cls=Several)(choose.source)
app.command("fit-sources")(fit_sources)
app.command("map-labels")(map_labels)
app.command("train-backbone")(train_backbone)
app.command("extend-vocabulary")(extend_vocabulary)
app.add_typer(audit.app, name="audit")
app.add_typer(audit.answers, name="answers")
app.add_typer(loop.app, name="loop")
app.add_typer(backbones.app, name="backbones")
app.add_typer(cache.app, name="cache")
app.add_typer(rules.app, name="rules")
