"""`textlabel optimize`: the fastest way to label with a model on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textlabel.cli.output import say, say_json, table
from textlabel.resources import resource

if TYPE_CHECKING:
    from textlabel.engine.optimize import Trial

#: looked at where no corpus is named
_TEXTS = "data/reviews"
_HEADINGS = ("backend", "texts/s", "same labels", "computed again", "")


def optimize(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder that `fit` wrote; it is rewritten.")],
    on: Annotated[
        str,
        typer.Option(
            metavar="CORPUS",
            help=(
                "Texts of the kind that will be labeled, at least 100 different; without it, the film and "
                "product reviews that come with textlabel."
            ),
        ),
    ] = "",
    text_column: Annotated[
        list[str], typer.Option(help="Column that holds the text. Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Find what labels fastest here with the same labels, and keep it in the model.

    \b
    Example:
      textlabel optimize model --on unlabeled.csv
      textlabel annotate unlabeled.csv --model model --out labeled --backend auto

    Every backend that runs here (`textlabel plugins backend`) is made ready on the texts, timed, and
    compared with torch in float32. What would turn labels, even with close rows computed again, is not
    kept. Takes a minute or two; the fastest ways need `pip install 'textlabel[openvino]'`.
    """
    from textlabel.labeler import Labeler

    if not on and text_column != ["text"]:
        raise typer.BadParameter("names a column of CORPUS: give --on CORPUS", param_hint="--text-column")
    labeler = Labeler.load(model)
    trials = labeler.optimize(on or str(resource(_TEXTS)), text_column=text_column)
    labeler.save(model, self_contained=(Path(model) / "body").is_dir())
    if as_json:
        say_json({"model": model, "backends": [_told(trial) for trial in trials]})
    else:
        say(table([_HEADINGS, *map(_line, trials)]))


def _told(trial: Trial) -> dict[str, Any]:
    fit = None if trial.fit is None else trial.fit.to_json()
    return {
        "backend": trial.backend,
        "kept": trial.fit is not None,
        "texts_per_second": trial.texts_per_second,
        "why_not": trial.why,
        "fit": fit,
    }


def _line(trial: Trial) -> tuple[str, ...]:
    measured = {} if trial.fit is None else trial.fit.measured
    speed = "" if trial.texts_per_second is None else f"{trial.texts_per_second:,.0f}"
    agree, again = (measured.get(name) for name in ("agreement_with_band", "computed_again"))
    shares = ("" if share is None else f"{share:.1%}" for share in (agree, again))
    return (trial.backend, speed, *shares, trial.why or "kept")
