"""`textlabel annotate`: a corpus with labels, confidence and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import by_task, pairs, say, say_json
from textlabel.progress import events
from textlabel.steps import Annotate, Summary

_HELP = meanings(Annotate)


def annotate(
    corpus: Annotated[str, typer.Argument(metavar="CORPUS", help=_HELP["corpus"])],
    model: Annotated[str, typer.Option(metavar="MODEL", help=_HELP["model"])],
    out: Annotated[str, typer.Option(metavar="DIR", help=_HELP["out"])],
    form: Annotated[str, typer.Option("--format", help=_HELP["format"])] = Annotate.format,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help=_HELP["min_confidence"])
    ] = Annotate.min_confidence,
    out_of_scope_rate: Annotated[
        float, typer.Option(min=0, max=1, help=_HELP["out_of_scope_rate"])
    ] = Annotate.out_of_scope_rate,
    back_off: Annotated[float, typer.Option(min=0, max=1, help=_HELP["back_off"])] = Annotate.back_off,
    correct_label_shift: Annotated[
        bool, typer.Option("--correct-label-shift", help=_HELP["correct_label_shift"])
    ] = False,
    class_shares: Annotated[
        str, typer.Option(metavar="NAME=SHARE,...|labeled", help=_HELP["class_shares"])
    ] = Annotate.class_shares,
    gold: Annotated[str, typer.Option(metavar="FILE", help=_HELP["gold"])] = "",
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = Annotate.label_column,
    label_separator: Annotated[str, typer.Option(metavar="SIGN", help=_HELP["label_separator"])] = "",
    order_by: Annotated[str, typer.Option(metavar="COLUMN", help=_HELP["order_by"])] = Annotate.order_by,
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    id_column: Annotated[str, typer.Option(help=_HELP["id_column"])] = "",
    split: Annotated[str, typer.Option(help=_HELP["split"])] = "",
    config: Annotated[str, typer.Option(help=_HELP["config"])] = "",
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_HELP["on_bad_row"])] = "fail",
    reject_file: Annotated[str, typer.Option(metavar="FILE", help=_HELP["reject_file"])] = "",
    backend: Annotated[str, typer.Option(help=_HELP["backend"])] = Annotate.backend,
    cascade: Annotated[bool, typer.Option("--cascade", help=_HELP["cascade"])] = False,
    on_long: Annotated[str, typer.Option(metavar="truncate|window|fail", help=_HELP["on_long"])] = "",
    window_pooling: Annotated[
        str, typer.Option(metavar="mean|weighted|max", help=_HELP["window_pooling"])
    ] = Annotate.window_pooling,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help=_HELP["cache"])] = True,
    engine: Annotated[str, typer.Option(metavar="local|ray", help=_HELP["engine"])] = Annotate.engine,
    ray_address: Annotated[str, typer.Option(metavar="HOST:PORT", help=_HELP["ray_address"])] = "",
    actors: Annotated[int, typer.Option(min=0, help=_HELP["actors"])] = Annotate.actors,
    cpus_per_actor: Annotated[
        float, typer.Option(min=0, help=_HELP["cpus_per_actor"])
    ] = Annotate.cpus_per_actor,
    gpus_per_actor: Annotated[
        float, typer.Option(min=0, help=_HELP["gpus_per_actor"])
    ] = Annotate.gpus_per_actor,
    resume: Annotated[bool, typer.Option("--resume", help=_HELP["resume"])] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help=_HELP["fresh"])] = False,
    push_to_hub: Annotated[str, typer.Option(metavar="REPO", help=_HELP["push_to_hub"])] = "",
    private: Annotated[bool, typer.Option("--private/--public", help=_HELP["private"])] = True,
    revision: Annotated[str, typer.Option(metavar="BRANCH", help=_HELP["revision"])] = "",
    create_pr: Annotated[bool, typer.Option("--create-pr", help=_HELP["create_pr"])] = False,
    allow_personal_data: Annotated[
        float, typer.Option(metavar="SHARE", help=_HELP["allow_personal_data"])
    ] = Annotate.allow_personal_data,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Label a corpus and write it with calibrated confidence.

    \b
    Example:
      textlabel annotate unlabeled.csv --model model --out labeled --format csv

    Writes DIR: the rows in input order with id, text, label, confidence, probabilities, margin,
    prediction_set, ood_score, decision, source and every column of the input; textlabel.json
    (provenance); README.md (a dataset card). With --back-off, node and node_confidence, too. DIR is
    complete or untouched. If it is killed, the same command goes on from the shards beside DIR. With
    --json, progress goes to stderr as JSON lines.
    """
    step = Annotate(
        corpus=corpus,
        model=model,
        out=out,
        format=form,
        min_confidence=min_confidence,
        out_of_scope_rate=out_of_scope_rate,
        back_off=back_off,
        correct_label_shift=correct_label_shift,
        class_shares=class_shares,
        gold=gold,
        label_column=label_column,
        label_separator=label_separator,
        order_by=order_by,
        text_column=tuple(text_column),
        id_column=id_column,
        split=split,
        config=config,
        on_bad_row=on_bad_row,
        reject_file=reject_file,
        backend=backend,
        cascade=cascade,
        on_long=on_long,
        window_pooling=window_pooling,
        cache=cache,
        engine=engine,
        ray_address=ray_address,
        actors=actors,
        cpus_per_actor=cpus_per_actor,
        gpus_per_actor=gpus_per_actor,
        resume=resume,
        fresh=fresh,
        push_to_hub=push_to_hub,
        private=private,
        revision=revision,
        create_pr=create_pr,
        allow_personal_data=allow_personal_data,
    )
    with events(as_json):
        summary = step.run()
    if as_json:
        say_json(summary)
    else:
        say(f"{render(summary)}\n\nnext: textlabel evaluate {out} --gold FILE")


def render(summary: Summary) -> str:
    """Return the summary of an annotation for people."""
    if "tasks" in summary:
        return by_task(summary, render)
    return pairs({**summary, "label_shift": _told(summary["label_shift"])})


def _told(shift: Mapping[str, Any] | None) -> str | None:
    if shift is None:
        return None
    if not shift["applied"]:
        return f"not corrected: {shift['reason']}"
    shares = ", ".join(f"{name} {share:.3g}" for name, share in shift["shares"].items())
    if shift["p_value"] is None:
        return f"corrected for stated shares {shares}"
    return f"corrected for estimated shares {shares}; test for another shift: p = {shift['p_value']:.2g}"
