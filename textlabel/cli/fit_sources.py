"""`textlabel fit-sources`: one model of several labeled sources and a few labeled rows of the target."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.backbone_training import named_sources
from textlabel.cli.complete import backbone_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json, table
from textlabel.source_fitting import FitSources
from textlabel.types import Summary

_HELP = meanings(FitSources)


def fit_sources(
    source: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FILE", help="A labeled corpus and what to call it. Repeat the option for several."
        ),
    ],
    target_labels: Annotated[str, typer.Option(metavar="FILE", help=_HELP["target_labels"])],
    out: Annotated[str, typer.Option(metavar="MODEL", help=_HELP["out"])],
    unlabeled: Annotated[str, typer.Option(metavar="CORPUS", help=_HELP["unlabeled"])] = "",
    nearest: Annotated[float, typer.Option(metavar="SHARE", help=_HELP["nearest"])] = FitSources.nearest,
    backbone: Annotated[str, typer.Option(autocompletion=backbone_names, help=_HELP["backbone"])] = str(
        FitSources.backbone
    ),
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = FitSources.label_column,
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_HELP["on_bad_row"])] = "fail",
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = FitSources.seed,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help=_HELP["cache"])] = True,
    self_contained: Annotated[bool, typer.Option("--self-contained", help=_HELP["self_contained"])] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Fit one model of several labeled sources and a few labeled rows of the target.

    \b
    Example:
      textlabel fit-sources --source films=films.csv --source dvd=dvd.csv --target-labels few.csv --out model
      textlabel annotate products.csv --model model --out labeled

    All have the same classes. A head of all rows in one pile stands unless the few rows, each judged by what
    did not see it, speak for another by more than two standard errors: a pool of the heads of each source,
    the best source, or these rows alone. A source whose own head is no better than a guess there, as one
    whose labels mean something else, is left out of the pile.
    """
    summary = FitSources(
        named_sources(source),
        target_labels,
        out,
        unlabeled=unlabeled,
        nearest=nearest,
        backbone=backbone,
        text_column=tuple(text_column),
        label_column=label_column,
        on_bad_row=on_bad_row,
        seed=seed,
        cache=cache,
        self_contained=self_contained,
    ).run()
    say_json(summary) if as_json else say(render(summary))


def render(summary: Summary) -> str:
    """Return the summary for people."""
    lines = [("candidate", "right", "nats gained over the target alone", "standard error")]
    for name, told in summary["candidates"].items():
        lines.append(
            (name, f"{told['accuracy']:.1%}", f"{told['gain']:+.3f}", f"{told['standard_error']:.3f}")
        )
    rest = {key: value for key, value in summary.items() if key != "candidates"}
    return f"{pairs(rest)}\n\n{table(lines)}"
