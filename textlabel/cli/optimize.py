"""`textlabel optimize`: the fastest way to label with a model on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textlabel.cli.output import say, say_json, table
from textlabel.resources import resource
from textlabel.trust.deferral import MOST_DIFFER

if TYPE_CHECKING:
    from textlabel.engine.optimize import Trial

#: looked at where no corpus is named
_TEXTS = "data/reviews"
_HEADINGS = ("backend", "texts/s", "same labels", "computed again", "")
_CASCADE = (
    "Static backbone, such as potion-base-8M, of a student that learns the model's labels of up to 10,000 "
    "texts of CORPUS, for `annotate --cascade`."
)
_MOST_DIFFER = (
    "With --cascade: share of different texts whose label may differ from the model's own. The more, the "
    "more the student answers. CORPUS needs 1,196 different texts for 0.005."
)


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
    cascade: Annotated[str, typer.Option(metavar="BACKBONE", help=_CASCADE)] = "",
    most_differ: Annotated[float, typer.Option(help=_MOST_DIFFER)] = MOST_DIFFER,
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

    With --cascade a student learns the model's own labels of CORPUS. In `annotate --cascade` it answers
    what it is sure of, and the model the rest: of different texts like CORPUS at most 0.5 % get
    another label (--most-differ), at 95 % confidence.
    """
    from textlabel.labeler import Labeler

    if most_differ != MOST_DIFFER and not cascade:
        raise typer.BadParameter("is about a cascade: give --cascade BACKBONE", param_hint="--most-differ")
    for given, hint in ((text_column != ["text"], "--text-column"), (bool(cascade), "--cascade")):
        if given and not on:
            raise typer.BadParameter("is about CORPUS: give --on CORPUS", param_hint=hint)
    labeler = Labeler.load(model)
    trials = labeler.optimize(
        on or str(resource(_TEXTS)), cascade=cascade, most_differ=most_differ, text_column=text_column
    )
    labeler.save(model, self_contained=(Path(model) / "body").is_dir())
    if as_json:
        say_json({"model": model, "backends": [_told(trial) for trial in trials]})
    else:
        say(table([_HEADINGS, *map(_line, trials)]))


def _told(trial: Trial) -> dict[str, Any]:
    fit = None if trial.fit is None else trial.fit.to_json()
    return {
        "backend": trial.backend,
        "kept": not trial.why,
        "texts_per_second": trial.texts_per_second,
        "why_not": trial.why,
        "fit": fit,
        **({} if trial.student is None else {"student": trial.student.to_json()}),
    }


def _line(trial: Trial) -> tuple[str, ...]:
    speed = "" if trial.texts_per_second is None else f"{trial.texts_per_second:,.0f}"
    if trial.student is not None:
        measured = trial.student.measured
        same, said = f"{1 - measured['differ']:.1%}", f"kept; the student answers {measured['answered']:.1%}"
        return (trial.backend, speed, same, "", said)
    measured = {} if trial.fit is None else trial.fit.measured
    agree, again = (measured.get(name) for name in ("agreement_with_band", "computed_again"))
    shares = ("" if share is None else f"{share:.1%}" for share in (agree, again))
    return (trial.backend, speed, *shares, trial.why or "kept")
