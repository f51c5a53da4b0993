"""`textlabel plan`, `certify`, `todo`, `finish`, `shares`: from labels to labels with a promise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from textlabel.cli.audit import Dir, Json
from textlabel.cli.output import pairs, say, say_json, table
from textlabel.cli.paths import local

Alpha = Annotated[
    float, typer.Option(help="Chance that a promise about this corpus is broken, over all looks.")
]


def plan(
    folder: Dir,
    max_error: Annotated[
        list[float], typer.Option(help="Tolerated share of wrong labels. Repeat the option for several.")
    ] = [0.02, 0.05, 0.1],  # noqa: B006 - typer copies it
    alpha: Alpha = 0.05,
    size: Annotated[
        list[int] | None, typer.Option(min=1, help="Audit sizes to try; repeat for several.")
    ] = None,
    pilot: Annotated[
        str, typer.Option(metavar="DIR", help="Annotations of rows whose true label is in `input_label`.")
    ] = "",
    seconds_per_row: Annotated[float, typer.Option(min=0, help="That a person needs for a row.")] = 20.0,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", parser=local, help="Also draw it: .svg, .png or .pdf.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell, before anything is spent, what an audit of which size would probably bring.

    \b
    Example:
      textlabel plan labeled --max-error 0.05 --seconds-per-row 10

    How often labels are wrong is taken from their confidence, which was calibrated on rows that the model had
    not seen, or from a pilot; never from audit answers. A forecast: no promise depends on it. Reads, and
    writes nothing but the plot.
    """
    from textlabel.audit import plan as make
    from textlabel.audit.planning import draw_plot
    from textlabel.trust.planning import SIZES

    told = make(
        folder, max_error, alpha, pilot=pilot or None, sizes=size or SIZES, seconds_per_row=seconds_per_row
    )
    if plot:
        draw_plot(told, plot)
    say_json(told) if as_json else say(_plan(told))


def certify(
    folder: Dir,
    max_error: Annotated[float, typer.Option(help="Share of wrong labels that is tolerated.")] = 0.05,
    alpha: Alpha = 0.05,
    mode: Annotated[
        str, typer.Option(metavar="finish|selective|fdr", help="What is promised; see above.")
    ] = "finish",
    by: Annotated[
        str,
        typer.Option(
            metavar="class|COLUMN", help="One promise per predicted class, or per value of a column."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Certify labels with the answers of an audit, or say "not yet".

    \b
    Example:
      textlabel certify labeled --max-error 0.05 --alpha 0.05

    \b
    finish      at most 5 % of all labels are wrong once people have labeled the rows not accepted
    selective   at most 5 % of the accepted rows are wrong; the others are not published
    fdr         on average over draws, at most 5 % of the accepted rows are wrong; a weaker promise

    The first two hold with probability 1 - alpha whatever the model, its confidence and the texts are; only
    the draw of the audit is random. The j-th look at a corpus spends alpha / 2^j (fdr: of max-error);
    repeating a look is free. The looks are a record, not a lock. Exit code 0 also for "not yet". Writes
    DIR/audit/certificate-N.json.
    """
    from textlabel.audit import certify as make

    told = make(folder, max_error, alpha, mode=mode, by=by or None)
    say_json(told) if as_json else say(_certificate(told, folder))


def todo(
    folder: Dir,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=local, help="Sheet, .csv or .jsonl; default: audit/todo-N.csv."),
    ] = None,
    show_labels: Annotated[bool, typer.Option("--show-labels", help="Show the model's label too.")] = False,
    as_json: Json = False,
) -> None:
    """Write the sheet of rows that people must still label before `finish`."""
    from textlabel.audit import todo as make

    rows, path = make(folder, out=out, show_labels=show_labels)
    told = {"rows": len(rows), "sheet": str(path)}
    say_json(told) if as_json else say(pairs(told))


def finish(
    folder: Dir,
    out: Annotated[Path, typer.Option(metavar="DIR", parser=local, help="Folder for the finished corpus.")],
    form: Annotated[str, typer.Option("--format", help="dataset, parquet, jsonl or csv.")] = "dataset",
    as_json: Json = False,
) -> None:
    """Write the finished corpus, people's labels in their places, under its certificate.

    Refuses while a row that the promise needs is open (`textlabel todo`), and when labels or order are not
    the certified ones.
    """
    from textlabel.audit import finish as make

    told = make(folder, out, form=form)
    say_json(told) if as_json else say(pairs(told))


def shares(
    folder: Dir,
    by: Annotated[str, typer.Option(metavar="COLUMN", help="Also within each value of a column.")] = "",
    alpha: Annotated[float, typer.Option(help="Each interval misses with this probability.")] = 0.05,
    bounds: Annotated[
        tuple[float, float] | None, typer.Option(metavar="LOW HIGH", help="Of scores: the possible ones.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell the share of right labels, and of each class (or the mean score), with intervals that hold.

    Model labels of all rows and people's answers on the audited ones, put together (prediction-powered
    inference): right on average however wrong the model is, and narrower the better it is. Certify first: a
    certificate that is asked for afterwards says that you had seen this.
    """
    from textlabel.audit import shares as make

    told = make(folder, by=by or None, alpha=alpha, bounds=bounds)
    say_json(told) if as_json else say(_shares(told))


def _plan(told: Mapping[str, Any]) -> str:
    head = ("max error", "audit", "accepted", "9 in 10 times", "people label", "hours")
    lines = [
        (
            f"{100 * line['max_error']:g} %",
            f"{line['audited']:,}",
            f"{line['accepted']:,}",
            f">= {line['low']:,}",
            f"{line['people']:,}",
            f"{line['hours']:,}",
        )
        for line in told["table"]
    ]
    price = f"look {told['look']} of this corpus, which spends {told['level_spent']:.3g}"
    return (
        f"{told['population']:,} rows, {told['drawn']:,} drawn; {price}; wrong labels expected from "
        f"{told['from']}\n\n{table([head, *lines])}\n\n" + "\n".join(told["advice"])
    )


def _certificate(told: Mapping[str, Any], folder: Path) -> str:
    keys = ("mode", "look", "population", "gold", "rejected", "out_of_scope", "audited", "unanswered")
    facts = {key: told[key] for key in keys if key in told}
    facts["this look spends"] = f"{told['level_spent']:.3g} of {told['spends']} {told[told['spends']]:g}"
    parts = [pairs(facts)]
    for group in told["groups"]:
        name = "" if told["by"] is None else f"{told['by']} {group['name']}: "
        if group["promise"]:
            share = f"{group['accepted']:,} of {group['population']:,} rows keep the model's label"
            found = f"{group['wrong']:,} of {group['audited']:,} audited rows were wrong"
            parts.append(f"{name}{group['promise']}\n{share}; {found}.")
        else:
            parts.append(
                f"{name}not yet: {group['reason']}. `textlabel plan {folder}` tells what would help."
            )
    if told["certified"]:
        truth = told["reviewers"]
        parts.append(f"wrong means: {told['error']}; truth is {truth['truth']}{_agreement(truth)}")
        if told["labels_shown"]:
            parts.append("the people who answered saw the model's label, which makes them agree with it")
        parts.append(f"assumed: {told['assumes']}. Looks are counted, not locked")
    return "\n\n".join(parts)


def _agreement(truth: Mapping[str, Any]) -> str:
    if "agreement" not in truth:
        return ""
    alpha = truth["krippendorff_alpha"]
    more = "" if alpha is None else f", Krippendorff's alpha {alpha:.2f}"
    return f" (they agree on {100 * truth['agreement']:.0f} %{more})"


def _shares(told: Mapping[str, Any]) -> str:
    head = ("slice", "what", "estimate", "low", "high", "audited", "rows", "method")
    lines = [
        (
            line["slice"] or "all",
            line["name"],
            *("?" if line[key] is None else f"{line[key]:.4g}" for key in ("estimate", "low", "high")),
            f"{line['audited']:,}",
            f"{line['n']:,}",
            line["method"],
        )
        for line in [told["right_labels"], *told["shares"]]
    ]
    return table([head, *lines])
