"""`textlabel report`: one page about an annotated corpus."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import say, say_json
from textlabel.reporting.step import Report

_HELP = meanings(Report)


def report(
    annotations: Annotated[str, typer.Argument(metavar="DIR", help=_HELP["annotations"])],
    out: Annotated[str, typer.Option(metavar="FILE", help=_HELP["out"])] = "",
    gold: Annotated[str, typer.Option(metavar="FILE", help=_HELP["gold"])] = "",
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = Report.label_column,
    label_separator: Annotated[str, typer.Option(metavar="SIGN", help=_HELP["label_separator"])] = "",
    by: Annotated[
        list[str], typer.Option(metavar="COLUMN", help=f"{_HELP['by']} Repeat the option for several.")
    ] = [],  # noqa: B006 - typer copies it
    model: Annotated[str, typer.Option(metavar="MODEL", help=_HELP["model"])] = "",
    source: Annotated[str, typer.Option(metavar="FILE", help=_HELP["source"])] = "",
    rules: Annotated[
        list[str], typer.Option(metavar="FILE", help=f"{_HELP['rules']} Repeat the option for several.")
    ] = [],  # noqa: B006
    transfer: Annotated[str, typer.Option(metavar="FILE", help=_HELP["transfer"])] = "",
    timed: Annotated[
        list[str], typer.Option(metavar="FILE", help=f"{_HELP['timed']} Repeat the option for several.")
    ] = [],  # noqa: B006
    title: Annotated[str, typer.Option(help=_HELP["title"])] = "",
    show_personal_data: Annotated[
        bool, typer.Option("--show-personal-data", help=_HELP["show_personal_data"])
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print paths and summary as JSON.")] = False,
) -> None:
    """Write one page about an annotated corpus, for whoever must accept its labels.

    \b
    Example:
      textlabel report labeled --model model --source labeled.csv --by section

    It tells what was asked and done, the labels that people gave, the certificate, quality by the audit or
    by gold labels, confidence, class shares, errors by slice, what `auto` tried, gold labels that are
    suspected, and examples; of scores how far off they are along the scale, and whether intervals hold.
    The page has no script, fetches nothing and prints well; the same as JSON lies beside it. What it
    tells of an audit counts as shown: see `textlabel certify --help`.
    """
    told = Report(
        annotations,
        out,
        gold=gold,
        label_column=label_column,
        label_separator=label_separator,
        by=tuple(by),
        model=model,
        source=source,
        rules=tuple(rules),
        transfer=transfer,
        timed=tuple(timed),
        title=title,
        show_personal_data=show_personal_data,
    ).run()
    if as_json:
        say_json(told)
        return
    say("\n".join([*told["summary"], "", f"report  {told['report']}", f"json    {told['json']}"]))
