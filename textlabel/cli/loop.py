"""`textlabel loop`: propose rows, take answers, fit again, propose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textlabel.asking import Loop, Start
from textlabel.cli.complete import backbone_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json, table

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
_HELP = meanings(Start)

Dir = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `textlabel loop start` made.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback()
def loop() -> None:
    """Ask the rows of a corpus that it pays to label, round after round.

    \b
      textlabel loop start corpus.csv --classes refund,delivery --out loop
      textlabel loop propose loop --count 20          writes loop/round-1.csv
      (people fill in the column `label`)
      textlabel loop import loop loop/round-1.csv
      textlabel loop propose loop --count 20          and so on
      textlabel loop export loop --out labeled.csv
      textlabel fit labeled.csv --recipe auto --unlabeled corpus.csv --out model

    After each round a head is fitted on the frozen backbone, in seconds, as features are kept.
    """


@app.command("start")
def start(
    corpus: Annotated[str, typer.Argument(metavar="CORPUS", help=_HELP["corpus"])],
    out: Annotated[str, typer.Option(metavar="DIR", help=_HELP["out"])],
    classes: Annotated[str, typer.Option(metavar="A,B", help=_HELP["classes"])] = "",
    labeled: Annotated[str, typer.Option(metavar="FILE", help=_HELP["labeled"])] = "",
    exclude_audit: Annotated[str, typer.Option(metavar="DIR", help=_HELP["exclude_audit"])] = "",
    strategy: Annotated[str, typer.Option(help=_HELP["strategy"])] = Start.strategy,
    backbone: Annotated[
        str, typer.Option(autocompletion=backbone_names, help=_HELP["backbone"])
    ] = Start.backbone,
    budget: Annotated[int, typer.Option(min=0, help=_HELP["budget"])] = Start.budget,
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = Start.label_column,
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = Start.seed,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help=_HELP["cache"])] = True,
    as_json: Json = False,
) -> None:
    """Begin: say what may be asked, and which classes there are."""
    told = Start(
        corpus,
        out,
        classes=tuple(name.strip() for name in classes.split(",") if name.strip()),
        labeled=labeled,
        exclude_audit=exclude_audit,
        strategy=strategy,
        backbone=backbone,
        budget=budget,
        text_column=tuple(text_column),
        label_column=label_column,
        seed=seed,
        cache=cache,
    ).run()
    say_json(told) if as_json else say(pairs(told))


@app.command("propose")
def propose(
    folder: Dir,
    count: Annotated[int, typer.Option(min=1, help="Rows to ask.")] = 20,
    as_json: Json = False,
) -> None:
    """Write a sheet of the rows to ask next; one that is not all answered is given again."""
    told = Loop(folder).propose(count)
    say_json(told) if as_json else say(pairs(told))


@app.command("import")
def import_(
    folder: Dir,
    sheet: Annotated[Path, typer.Argument(metavar="SHEET", help="The sheet, with labels filled in.")],
    reviewer: Annotated[str, typer.Option(metavar="NAME", help="Who answered.")] = "",
    correct: Annotated[
        bool, typer.Option("--correct", help="Replace what was answered otherwise before.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take the answers of a sheet; all of them, or none if one row is unfit."""
    told = Loop(folder).record(sheet, reviewer, correct)
    say_json(told) if as_json else say(pairs(told))


@app.command("status")
def status(folder: Dir, as_json: Json = False) -> None:
    """Tell how many rows are labeled, of which classes, how many are left, and whether it is time to stop.

    The rules are kappa (what the model says has hardly changed in three rounds), certificate (by its own
    confidence the model may label nearly all rows: a prediction, which an audit must confirm) and budget.
    """
    told = Loop(folder).status()
    if as_json:
        say_json(told)
        return
    stop = {name: why or "go on" for name, why in told.pop("stop").items()}
    say(f"{pairs(told)}\n\n{table([('stopping rule', 'says'), *stop.items()])}")


@app.command("export")
def export(
    folder: Dir,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Labeled rows, .csv or .jsonl, ready for `fit`.")],
    as_json: Json = False,
) -> None:
    """Write all labeled rows."""
    told = {"rows": Loop(folder).export(out), "out": str(out)}
    say_json(told) if as_json else say(pairs(told))
