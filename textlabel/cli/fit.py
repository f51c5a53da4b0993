"""`textlabel fit`: from a few labels to a calibrated classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from textlabel.cli.complete import backbone_names, recipe_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import by_task, pairs, say, say_json, table
from textlabel.steps import Fit, Summary

_HELP = meanings(Fit)


def fit(
    out: Annotated[str, typer.Option(metavar="MODEL", help=_HELP["out"])],
    train: Annotated[str, typer.Argument(metavar="TRAIN", help=_HELP["train"], show_default=False)] = "",
    classes: Annotated[
        str, typer.Option(metavar="NAME,NAME", help=f"{_HELP['classes']} Parted by commas.")
    ] = "",
    backbone: Annotated[
        str, typer.Option(autocompletion=backbone_names, help=_HELP["backbone"])
    ] = Fit.backbone,
    recipe: Annotated[str, typer.Option(autocompletion=recipe_names, help=_HELP["recipe"])] = Fit.recipe,
    unlabeled: Annotated[str, typer.Option(metavar="CORPUS", help=_HELP["unlabeled"])] = "",
    validation: Annotated[str, typer.Option(metavar="FILE", help=_HELP["validation"])] = "",
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = Fit.label_column,
    task: Annotated[
        list[str], typer.Option(metavar="NAME=COLUMN", help=f"{_HELP['task']} Repeat the option for each.")
    ] = [],  # noqa: B006 - typer copies it
    label_separator: Annotated[str, typer.Option(metavar="SIGN", help=_HELP["label_separator"])] = "",
    id_column: Annotated[str, typer.Option(help=_HELP["id_column"])] = "",
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = Fit.seed,
    calibration: Annotated[str, typer.Option(help=_HELP["calibration"])] = Fit.calibration,
    calibrator: Annotated[str, typer.Option(help=_HELP["calibrator"])] = Fit.calibrator,
    off_map: Annotated[str, typer.Option(help=_HELP["off_map"])] = Fit.off_map,
    keep_reference: Annotated[bool, typer.Option("--keep-reference", help=_HELP["keep_reference"])] = False,
    sets: Annotated[str, typer.Option(metavar="lac|aps|raps|class", help=_HELP["sets"])] = Fit.sets,
    set_alpha: Annotated[float, typer.Option(min=0, max=1, help=_HELP["set_alpha"])] = Fit.set_alpha,
    threshold: Annotated[str, typer.Option(metavar="half|f1", help=_HELP["threshold"])] = Fit.threshold,
    noisy_labels: Annotated[
        str, typer.Option(metavar="keep|prune|soft", help=_HELP["noisy_labels"])
    ] = Fit.noisy_labels,
    weigh_rows: Annotated[
        str, typer.Option(metavar="none|density_ratio|kmm", help=_HELP["weigh_rows"])
    ] = Fit.weigh_rows,
    forget_rows: Annotated[bool, typer.Option("--forget-rows", help=_HELP["forget_rows"])] = False,
    backend: Annotated[str, typer.Option(help=_HELP["backend"])] = Fit.backend,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help=_HELP["cache"])] = True,
    pooling: Annotated[str, typer.Option(help=_HELP["pooling"])] = "",
    layers: Annotated[int, typer.Option(min=0, help=_HELP["layers"])] = Fit.layers,
    descriptions: Annotated[str, typer.Option(metavar="FILE", help=_HELP["descriptions"])] = "",
    ordered: Annotated[
        str, typer.Option(metavar="LOWEST,...,HIGHEST", help=f"{_HELP['ordered']} Separated by commas.")
    ] = "",
    label_tree: Annotated[str, typer.Option(metavar="FILE", help=_HELP["label_tree"])] = "",
    budget: Annotated[str, typer.Option(metavar="TIME", help=_HELP["budget"])] = Fit.budget,
    max_length: Annotated[int, typer.Option(min=0, help=_HELP["max_length"])] = Fit.max_length,
    on_long: Annotated[
        str, typer.Option(metavar="truncate|window|fail", help=_HELP["on_long"])
    ] = Fit.on_long,
    window_pooling: Annotated[
        str, typer.Option(metavar="mean|weighted|max", help=_HELP["window_pooling"])
    ] = Fit.window_pooling,
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_HELP["on_bad_row"])] = "fail",
    reject_file: Annotated[str, typer.Option(metavar="FILE", help=_HELP["reject_file"])] = "",
    self_contained: Annotated[bool, typer.Option("--self-contained", help=_HELP["self_contained"])] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Adapt a backbone to labeled rows and write a classifier.

    \b
    Example:
      textlabel fit reviews.csv --text-column review --label-column stars --out model
      textlabel fit reviews.csv --task sentiment=stars --task topic=section --out model
      textlabel fit --classes "refund,card lost,delivery" --unlabeled corpus.csv --out model

    Writes MODEL: weights of the head (and of what else was trained), calibration and provenance, as
    safetensors and JSON, and a model card; no training text (of recipe tfidf pieces of words). If it is
    killed, the same command goes on from the checkpoint beside MODEL. Several processes: see "Launch" in
    README.
    """
    step = Fit(
        out=out,
        train=train,
        classes=tuple(name.strip() for name in classes.split(",")) if classes else (),
        backbone=backbone,
        recipe=recipe,
        unlabeled=unlabeled,
        validation=validation,
        text_column=tuple(text_column),
        label_column=label_column,
        task=tuple(task),
        label_separator=label_separator,
        id_column=id_column,
        seed=seed,
        calibration=calibration,
        calibrator=calibrator,
        off_map=off_map,
        keep_reference=keep_reference,
        sets=sets,
        set_alpha=set_alpha,
        threshold=threshold,
        noisy_labels=noisy_labels,
        weigh_rows=weigh_rows,
        forget_rows=forget_rows,
        backend=backend,
        cache=cache,
        pooling=pooling,
        layers=layers,
        descriptions=descriptions,
        ordered=tuple(name.strip() for name in ordered.split(",")) if ordered else (),
        label_tree=label_tree,
        budget=budget,
        max_length=max_length,
        on_long=on_long,
        window_pooling=window_pooling,
        on_bad_row=on_bad_row,
        reject_file=reject_file,
        self_contained=self_contained,
    )
    summary = step.run()
    if as_json:
        say_json(summary)
    else:
        say(f"{render(summary)}\n\nnext: textlabel annotate CORPUS --model {out} --out labeled")


def render(summary: Summary) -> str:
    """Return the summary of a fit for people."""
    if "tasks" in summary:
        return by_task(summary, render)
    calibrator = summary["calibrator"] or {}
    weights = _weights(summary["row_weights"]) if "row_weights" in summary else None
    trained = _self_training(summary["self_training"]) if "self_training" in summary else None
    own = {"calibrator": list(calibrator.values()), "tried": None, "row_weights": weights}
    own |= {"self_training": trained}
    told = pairs({**summary, **own})
    return f"{told}\n\n{trials(summary['tried'])}" if summary["tried"] else told


def _weights(told: Mapping[str, Any]) -> str:
    """Return what became of the wish to weigh rows."""
    if not told["applied"]:
        return f"{told['method']} refused: {told['reason']}"
    return f"{told['method']}: {told['rows']:,} rows are worth {told['effective_rows']:,.0f} of equal weight"


def _self_training(told: Mapping[str, Any]) -> str:
    """Return how many rounds were kept, and why no more."""
    agreed = "" if told["agreement"] is None else f"; heads of halves agree on {told['agreement']:.3f}"
    return f"{told['rounds']} rounds kept ({told['ended']}){agreed}"


def trials(tried: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of what `auto` tried."""

    def cells(trial: Mapping[str, Any]) -> list[str]:
        scores = ["", ""]
        if trial["accuracy"] is not None:
            half = 1.96 * trial["error"]
            scores = [f"{trial['accuracy']:.3f} ± {half:.3f}", f"{trial['nll']:.3f}"]
        told = [f"{trial['seconds']:.1f}", trial["learned_from"], trial["verdict"]]
        return [trial["name"], str(trial["layers"] or ""), *scores, *told]

    return table([["tried", "layers", "right", "loss", "seconds", "also from", ""], *map(cells, tried)])
