"""`textlabel map-labels`: a model of one label set gives the labels of another."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json
from textlabel.mapping import MapLabels
from textlabel.types import Summary

_HELP = meanings(MapLabels)


def map_labels(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_HELP["model"], show_default=False)],
    out: Annotated[str, typer.Option(metavar="MODEL2", help=_HELP["out"])],
    target_labels: Annotated[str, typer.Option(metavar="FILE", help=_HELP["target_labels"])] = "",
    mode: Annotated[
        str, typer.Option(metavar="leep|many_to_one|one_to_one", help=_HELP["mode"])
    ] = MapLabels.mode,
    map: Annotated[str, typer.Option(metavar="JSON", help=_HELP["map"])] = "",
    label_tree: Annotated[str, typer.Option(metavar="JSON", help=_HELP["label_tree"])] = "",
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = MapLabels.label_column,
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = MapLabels.seed,
    self_contained: Annotated[bool, typer.Option("--self-contained", help=_HELP["self_contained"])] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Let a model of one label set give the labels of another, by a map of their classes.

    \b
    Example:
      textlabel fit emotions.csv --out model
      textlabel map-labels model --target-labels few.csv --out model2
      textlabel annotate unlabeled.csv --model model2 --out labeled

    No weight is trained. Rows of a source class of which no counterpart is known are for review. The table
    tells what became of each class; beside the map a head is fitted on the few rows alone, and both are
    judged on those rows that they did not see: the source model must not have learned from any of them.
    """
    summary = MapLabels(
        model=model,
        out=out,
        target_labels=target_labels,
        mode=mode,
        map=map,
        label_tree=label_tree,
        text_column=tuple(text_column),
        label_column=label_column,
        seed=seed,
        self_contained=self_contained,
    ).run()
    say_json(summary) if as_json else say(render(summary))


def render(summary: Summary) -> str:
    """Return the summary of a map for people."""
    table = [
        f"{line['source']} -> {line['target'] or '(unmapped)'}"
        + (f" {line['probability']:.2f} ({line['rows']:g} rows)" if line["target"] else "")
        for line in summary["table"]
    ]
    return pairs({**summary, "table": table})
