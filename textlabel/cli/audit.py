"""`textlabel audit` and `textlabel answers`: rows out to people, and their answers back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from textlabel.cli.output import pairs, say, say_json
from textlabel.cli.paths import audited, local

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
answers = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

Dir = Annotated[Path, typer.Argument(metavar="DIR", parser=audited, help="Folder that `annotate` wrote.")]
Sheet = Annotated[
    str, typer.Argument(metavar="SHEET", help="The sheet, with labels filled in; a path, or a URL.")
]
Reviewer = Annotated[
    str, typer.Option(metavar="NAME", help="Who answered, if the sheet has no column `reviewer`.")
]
Correct = Annotated[
    bool, typer.Option("--correct", help="Replace answers that the same person gave otherwise before.")
]
Tool = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="TOOL",
        help="SHEET is what this tool exported: label_studio, argilla, doccano or prodigy.",
    ),
]
Text = Annotated[str, typer.Option(help="With --from: what the tool's project calls the text.")]
Label = Annotated[str, typer.Option(help="With --from: what the tool's project calls the label.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback()
def audit() -> None:
    """Have people check rows of a labeled corpus, drawn at random, so that it can be certified.

    \b
      textlabel audit draw labeled --size 300     writes labeled/audit/sheet-1.csv
      (people fill in the column `label`)
      textlabel audit import labeled labeled/audit/sheet-1.csv
      textlabel certify labeled --max-error 0.05
    """


@app.command("draw")
def draw(
    folder: Dir,
    size: Annotated[int, typer.Option(min=1, help="Rows to draw. `textlabel plan DIR` helps to choose.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=local, help="Sheet, .csv or .jsonl; default: DIR/audit/sheet-N.csv."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the draw; by default a fresh one. Recorded.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="For scores: further than this from the answer is an error.")
    ] = None,
    show_labels: Annotated[
        bool,
        typer.Option("--show-labels", help="Show the model's label too; people then tend to agree with it."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Draw rows for people to check and write their sheet.

    The rows are a uniform draw from all rows that the model labeled; labels and their order must be the ones
    that `annotate` sealed. The sheet shows texts in random order, without the model's label. Fill in the
    column `label`: a class name (or a score; where rows may carry several classes, names joined by |, or
    "(none)"), or unsure, skip, none of these. Drawing again adds rows.
    """
    from textlabel.audit import draw as draw_rows

    made, path = draw_rows(folder, size, out=out, seed=seed, tolerance=tolerance, show_labels=show_labels)
    told = {
        "draw": made.number,
        "rows": len(made.rows),
        "texts_to_answer": made.asked,
        "seed": made.seed,
        "sheet": str(path),
    }
    if as_json:
        say_json(told)
        return
    then = f"fill in `label`, then textlabel audit import {folder} {path}"
    done = f"all is answered already: textlabel certify {folder}"
    say(f"{pairs(told)}\n\nnext: {then if made.asked else done}")


@app.command("sheet")
def sheet(
    folder: Dir,
    out: Annotated[Path, typer.Option(metavar="FILE", parser=local, help="Sheet, .csv or .jsonl.")],
    number: Annotated[int, typer.Option("--draw", min=1, help="Which draw.")] = 1,
    show_labels: Annotated[bool, typer.Option("--show-labels", help="Show the model's label too.")] = False,
    as_json: Json = False,
) -> None:
    """Write the sheet of a draw again: for another person, or because it was lost."""
    from textlabel.audit import sheet as write

    told = {"rows": write(folder, number, out, show_labels=show_labels), "sheet": str(out)}
    say_json(told) if as_json else say(pairs(told))


@app.command("import")
def import_audit(
    folder: Dir,
    sheet: Sheet,
    reviewer: Reviewer = "",
    correct: Correct = False,
    tool: Tool = "",
    text_column: Text = "text",
    label_column: Label = "label",
    as_json: Json = False,
) -> None:
    """Add the answers of an audit sheet.

    All of the sheet or, if a row is unfit, nothing. A blank label is no answer yet. Several people may answer
    the same rows, each under a --reviewer of their own: the majority counts, and who is unsure votes for
    leaving the row open. From a labeling tool, whose tasks `textlabel convert DIR --sheet SHEET --to TOOL`
    wrote, --from TOOL takes what it exported, names of people included.
    """
    columns = {"text_column": text_column, "label_column": label_column}
    _import(folder, sheet, as_json, reviewer=reviewer, correct=correct, tool=tool, **columns)


@app.command("release")
def release(
    folder: Dir,
    out: Annotated[
        Path, typer.Option(metavar="FILE", parser=local, help="csv with id, text and label, for `fit`.")
    ],
    as_json: Json = False,
) -> None:
    """Give the audit answers to training, which voids every certificate that rests on them.

    `fit` refuses audit sheets, because a model cannot be judged by rows that it learned from. This is the
    way to use them all the same; audit the next annotations with a new draw.
    """
    from textlabel.audit import release as give

    told = {"released": give(folder, out), "file": str(out), "certificates": "void"}
    say_json(told) if as_json else say(pairs(told))


@app.command("reuse")
def reuse(
    folder: Dir,
    earlier: Annotated[
        Path,
        typer.Option("--from", metavar="DIR", parser=audited, help="Annotations with an answered audit."),
    ],
    as_json: Json = False,
) -> None:
    """Carry an answered audit to annotations of the same rows by a later model.

    Only a model that learned neither from these answers nor from rows picked because of them can be certified
    so, and it costs a further look: each spends half of what the one before spent of alpha.
    """
    from textlabel.audit import reuse as carry

    told = {"rows": carry(folder, earlier), "annotations": str(folder)}
    say_json(told) if as_json else say(pairs(told))


@answers.callback()
def answers_() -> None:
    """Take in what people answered on the sheet of `textlabel todo`."""


@answers.command("import")
def import_answers(
    folder: Dir,
    sheet: Sheet,
    reviewer: Reviewer = "",
    correct: Correct = False,
    tool: Tool = "",
    text_column: Text = "text",
    label_column: Label = "label",
    as_json: Json = False,
) -> None:
    """Add the answers of a to-do sheet (or of an audit sheet); all of them, or none if a row is unfit.

    \b
    Example:
      textlabel answers import labeled labeled/audit/todo-1.csv --reviewer anna
      textlabel answers import labeled project-7.json --from label_studio
    """
    columns = {"text_column": text_column, "label_column": label_column}
    _import(folder, sheet, as_json, reviewer=reviewer, correct=correct, tool=tool, **columns)


def _import(folder: Path, sheet: str, as_json: bool, **options: Any) -> None:
    from dataclasses import asdict

    from textlabel.audit import import_answers as add

    told = asdict(add(folder, sheet, **options))
    say_json(told) if as_json else say(pairs(told))
