"""`textlabel simulate`: what asking by each strategy would have brought."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from textlabel.cli.complete import backbone_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import say, say_json, table
from textlabel.simulating import Simulate

_HELP = meanings(Simulate)


def simulate(
    labeled: Annotated[str, typer.Argument(metavar="LABELED", help=_HELP["labeled"])],
    strategies: Annotated[
        list[str], typer.Option(help=f"{_HELP['strategies']} Several names may follow.")
    ] = list(Simulate.strategies),  # noqa: B006 - typer copies it
    budget: Annotated[int, typer.Option(help=_HELP["budget"])] = Simulate.budget,
    batch: Annotated[int, typer.Option(help=_HELP["batch"])] = Simulate.batch,
    seeds: Annotated[int, typer.Option(help=_HELP["seeds"])] = Simulate.seeds,
    max_error: Annotated[float, typer.Option(help=_HELP["max_error"])] = Simulate.max_error,
    backbone: Annotated[
        str, typer.Option(autocompletion=backbone_names, help=_HELP["backbone"])
    ] = Simulate.backbone,
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = Simulate.label_column,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help=_HELP["cache"])] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Replay a labeled set: which rows would it have paid to ask?

    \b
    Example:
      textlabel simulate labeled.csv --strategies random margin typical_then_margin --budget 100

    Of the rows 30 % are held out and only scored; the labels of the others are looked at when they are asked.
    Each strategy begins without a label. Tells accuracy after every round, and the share of rows that the
    model may label by its own confidence, which is a prediction; the area is the mean accuracy over labels,
    with its difference to the first strategy and the standard error over seeds.
    """
    told = Simulate(
        labeled,
        strategies=tuple(strategies),
        budget=budget,
        batch=batch,
        seeds=seeds,
        max_error=max_error,
        backbone=backbone,
        text_column=tuple(text_column),
        label_column=label_column,
        cache=cache,
    ).run()
    say_json(told) if as_json else say(render(told))


def render(told: dict[str, Any]) -> str:
    """Return curves side by side, and areas."""
    found = told["strategies"]
    areas = [("strategy", "area", "above the first", "standard error")]
    for one in found:
        error = "" if one["standard_error"] is None else f"{one['standard_error']:.4f}"
        areas.append((one["strategy"], f"{one['area']:.4f}", f"{one['above_first']:+.4f}", error))
    labeled = sorted({n for one in found for n in one["labeled"]})
    curves: list[tuple[str, ...]] = [("labels", *(one["strategy"] for one in found))]
    for n in labeled:
        right = [dict(zip(one["labeled"], one["accuracy"], strict=True)).get(n) for one in found]
        curves.append((str(n), *("" if value is None else f"{value:.3f}" for value in right)))
    return f"{table(curves)}\n\n{table(areas)}"
