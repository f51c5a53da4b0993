"""`textlabel run`: the whole path from one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textlabel.cli import annotate, evaluate, fit
from textlabel.cli.keys import keys
from textlabel.cli.output import say, say_json, table
from textlabel.job import STEPS, Job
from textlabel.progress import events
from textlabel.steps import Evaluate, Fit, Step


def _keys(wanted: bool) -> None:
    if wanted:
        for name, step in STEPS.items():
            rows = [(key.name, key.default, key.meaning) for key in keys(step)]
            say(f"[{name}]\n{table(rows)}\n")
        raise typer.Exit


def run(
    job: Annotated[Path, typer.Argument(metavar="JOB.toml", help="The job file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="section.key=value", help="Values that replace those of the file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summaries as JSON.")] = False,
    all_keys: Annotated[
        bool, typer.Option("--keys", callback=_keys, is_eager=True, help="List every key of a job and exit.")
    ] = False,
) -> None:
    """Run fit, annotate and evaluate as one TOML file says.

    \b
    Example:
      textlabel run recipes/jobs/reviews.toml fit.recipe=lora fit.seed=1

    A section that is not there is left out. Paths in the file are relative to the file's folder, those
    on the command line to the current one. Writes what `fit` and `annotate` write.
    """
    loaded = Job.load(job, overrides or ())
    if as_json:
        with events():
            summaries = loaded.run()
        say_json(summaries)
        return
    for name, step in loaded.steps.items():
        say(f"[{name}]\n{_told(step)}\n")


def _told(step: Step) -> str:
    """Run a step and return what it has to tell to people."""
    if isinstance(step, Evaluate):
        return evaluate.render(step)
    render = fit.render if isinstance(step, Fit) else annotate.render
    return render(step.run())
