"""`textlabel demo`: the main job on real text, in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textlabel.cli.complete import backbone_names, recipe_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json
from textlabel.demo import Demo
from textlabel.steps import Summary

_HELP = meanings(Demo)
_KNOWN = "known only because this demo has the answers"


def demo(
    recipe: Annotated[str, typer.Option(autocompletion=recipe_names, help=_HELP["recipe"])] = Demo.recipe,
    classes: Annotated[int, typer.Option(min=2, max=3, help=_HELP["classes"])] = Demo.classes,
    out: Annotated[Path, typer.Option(metavar="DIR", help=_HELP["out"])] = Path(Demo.out),
    backbone: Annotated[
        str, typer.Option(autocompletion=backbone_names, help=_HELP["backbone"])
    ] = Demo.backbone,
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = Demo.seed,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Label real product reviews, learning mostly from film reviews.

    \b
    Example:
      textlabel demo --recipe lora --classes 3

    Learns from labeled sentences about films and a few about products, and labels the remaining 3,600
    sentences about products. The data is bundled; the backbone is fetched if it is not there. Takes up
    to three minutes on two cores.

    Writes DIR/dataset (the labeled rows with their confidence) and DIR/model (the classifier).
    """
    summary = Demo(recipe, classes, str(out), backbone, seed).run()
    if as_json:
        say_json(summary)
    else:
        say(render(summary))


def render(summary: Summary) -> str:
    """Return the summary of a demo for people."""
    judged, audit = summary["with_answers"], summary["certificate"]
    lines = {
        "learned from": f"{summary['films']:,} sentences about films, {summary['products']} about products",
        "rows labeled": summary["rows"],
        "labels": summary["labels"],
        "accuracy": f"{judged['accuracy']:.3f}, against the human labels   ({_KNOWN})",
        "calibration error": f"{judged['ece_before']:.3f} before, {judged['ece_after']:.3f} after"
        f"   ({_KNOWN})",
        "fraction accepted": f"{judged['accepted_at_95']:.2f} at 95 % precision   ({_KNOWN})",
        "certified": f"{audit['allowed']} wrong at most if people check {audit['audited']} rows and do "
        f"{audit['for_people']:,} in all; {audit['wrong_in_finished']} are   ({_KNOWN})",
        "texts/s": summary["texts_per_second"],
        "seconds in all": summary["seconds"],
        "labeled rows": summary["dataset"],
        "classifier": summary["model"],
    }
    return (
        f"{pairs(lines)}\n\nlook at the rows: datasets.load_from_disk({summary['dataset']!r})\n"
        f"have them checked: textlabel plan {summary['dataset']}, then textlabel audit draw"
    )
