"""`textlabel rules`: keywords, patterns and functions that label."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from textlabel.cli.complete import backbone_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json, table
from textlabel.rule_steps import CheckRules, FitRules, FuseRules, LabelByRules

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
_HELP = meanings(CheckRules)
_LABEL = meanings(LabelByRules)
_FIT = meanings(FitRules)
_FUSE = meanings(FuseRules)

Files = Annotated[list[str], typer.Argument(metavar="RULES...", help=_HELP["rules"])]
On = Annotated[str, typer.Option(metavar="CORPUS", help=_HELP["on"])]
Gold = Annotated[str, typer.Option(metavar="FILE", help=_HELP["gold"])]
Model = Annotated[str, typer.Option(metavar="NAME", help=_HELP["label_model"])]
Text = Annotated[list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")]
Label = Annotated[str, typer.Option(help=_HELP["label_column"])]
Voters = Annotated[
    list[str] | None,
    typer.Option("--voter", metavar="DIR", help=f"{_HELP['voters']} Repeat the option for several."),
]
Names = Annotated[bool, typer.Option("--names-vote", help=_HELP["names_vote"])]
Backbone = Annotated[str, typer.Option(autocompletion=backbone_names, help=_HELP["backbone"])]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback()
def rules() -> None:
    """Label by rules that you write: keywords, patterns, word lists, or functions of a text.

    \b
      [[rule]]
      name = "prize"
      label = "spam"
      keywords = ["free prize", "winner"]

    \b
      textlabel rules check rules.toml --on corpus.csv --gold few.csv
      textlabel rules label rules.toml --on corpus.csv --gold few.csv --out labeled    rules alone
      textlabel rules fuse rules.toml --on corpus.csv --gold few.csv --out labeled     and a model, and names
      textlabel rules fit rules.toml --on corpus.csv --gold few.csv --out model        a model of all that
    """


@app.command("check")
def check(
    files: Files,
    on: On,
    gold: Gold = "",
    label_model: Model = CheckRules.label_model,
    text_column: Text = ["text"],  # noqa: B006 - typer copies it
    label_column: Label = CheckRules.label_column,
    voter: Voters = None,
    names_vote: Names = False,
    backbone: Backbone = CheckRules.backbone,
    as_json: Json = False,
) -> None:
    """Tell of each rule what it covers, where it is in conflict, and how often gold proves it right.

    \b
    Example:
      textlabel rules check rules.toml --on corpus.csv --gold few.csv

    A rule that votes on nothing is "dead"; one whose exact 95 % interval on gold lies below chance is named.
    A .py file is imported, so its code runs. Patterns with nested repeats may take very long.
    """
    columns = tuple(text_column), label_column
    told = CheckRules(
        tuple(files), on, gold, label_model, *columns, tuple(voter or ()), names_vote, backbone
    ).run()
    say_json(told) if as_json else say(render(told))


@app.command("label")
def label(
    files: Files,
    on: On,
    out: Annotated[str, typer.Option(metavar="DIR", help=_LABEL["out"])],
    gold: Gold = "",
    label_model: Model = CheckRules.label_model,
    format: Annotated[str, typer.Option(help=_LABEL["format"])] = LabelByRules.format,
    text_column: Text = ["text"],  # noqa: B006 - typer copies it
    label_column: Label = CheckRules.label_column,
    voter: Voters = None,
    names_vote: Names = False,
    backbone: Backbone = CheckRules.backbone,
    as_json: Json = False,
) -> None:
    """Label a corpus by rules alone: a folder that `audit draw` and `certify` take.

    \b
    Example:
      textlabel rules label rules.toml --on corpus.csv --gold few.csv --out labeled

    Confidence is calibrated on gold rows, each labeled without its own answer, if there are ten or more, and
    is else said not to be. Every row that no person labeled is for review.
    """
    told = LabelByRules(
        tuple(files),
        on,
        gold,
        label_model,
        tuple(text_column),
        label_column,
        tuple(voter or ()),
        names_vote,
        backbone,
        out=out,
        format=format,
    ).run()
    say_json(told) if as_json else say(rendered(told))


@app.command("fit")
def fit(
    files: Files,
    on: On,
    out: Annotated[str, typer.Option(metavar="DIR", help=_FIT["out"])],
    gold: Gold = "",
    label_model: Model = CheckRules.label_model,
    backbone: Backbone = CheckRules.backbone,
    seed: Annotated[int, typer.Option(help=_FIT["seed"])] = FitRules.seed,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help=_FIT["cache"])] = True,
    text_column: Text = ["text"],  # noqa: B006 - typer copies it
    label_column: Label = CheckRules.label_column,
    voter: Voters = None,
    names_vote: Names = False,
    as_json: Json = False,
) -> None:
    """Fit a model on what rules say of a corpus, with gold rows beside, for `textlabel annotate`.

    \b
    Example:
      textlabel rules fit rules.toml --on corpus.csv --gold few.csv --out model
      textlabel annotate corpus.csv --model model --out labeled

    How much the rules count is chosen by gold rows out of fold, which also calibrate; labels of rules never
    do. With fewer than ten gold rows, or a class without one, confidence is not calibrated.
    """
    told = FitRules(
        tuple(files),
        on,
        gold,
        label_model,
        tuple(text_column),
        label_column,
        tuple(voter or ()),
        names_vote,
        out=out,
        backbone=backbone,
        seed=seed,
        cache=cache,
    ).run()
    say_json(told) if as_json else say(rendered(told))


@app.command("fuse")
def fuse(
    files: Files,
    on: On,
    gold: Annotated[str, typer.Option(metavar="FILE", help=_HELP["gold"])],
    out: Annotated[str, typer.Option(metavar="DIR", help=_LABEL["out"])],
    label_model: Model = CheckRules.label_model,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="DIR", help=f"{_FUSE['models']} Repeat the option for several."),
    ] = None,
    backbone: Backbone = CheckRules.backbone,
    seed: Annotated[int, typer.Option(help=_FUSE["seed"])] = FuseRules.seed,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help=_FUSE["cache"])] = True,
    format: Annotated[str, typer.Option(help=_LABEL["format"])] = LabelByRules.format,
    text_column: Text = ["text"],  # noqa: B006 - typer copies it
    label_column: Label = CheckRules.label_column,
    voter: Voters = None,
    as_json: Json = False,
) -> None:
    """Label a corpus by rules, class names and a head tuned on gold rows, all together.

    \b
    Example:
      textlabel rules fuse rules.toml --on corpus.csv --gold few.csv --out labeled

    Each says how likely each class is, and gold rows, each judged without its own answer, tell how much each
    counts: never less than nothing, so a wrong one is left out. That calibrates, too; with fewer than ten
    gold rows for each the rules speak alone, and confidence is not calibrated. Told is how right each is on
    gold rows that it has not seen, and all together by folds.
    """
    told = FuseRules(
        tuple(files),
        on,
        gold,
        label_model,
        tuple(text_column),
        label_column,
        tuple(voter or ()),
        out=out,
        format=format,
        models=tuple(model or ()),
        backbone=backbone,
        seed=seed,
        cache=cache,
    ).run()
    say_json(told) if as_json else say(rendered(told))


def rendered(told: dict[str, Any]) -> str:
    """Return what was written for people, with the verdict on label models, and sources one by one."""
    models, sources = told.pop("label_models"), told.pop("sources", [])
    shown = pairs({**told, **({} if models is None else {"verdict": models["verdict"]})})
    if not sources:
        return shown
    head = ("source", "factor", "right on unseen gold", "nats")
    rows = [
        (
            one["source"],
            "" if one["factor"] is None else f"{one['factor']:.2f}",
            f"{one['accuracy']:.1%}",
            f"{one['nats']:.3f}",
        )
        for one in sources
    ]
    return f"{table([head, *rows])}\n\n{shown}"


def render(told: dict[str, Any]) -> str:
    """Return the table for people, with the verdict on label models."""
    head = ("rule", "votes for", "rule coverage", "overlap", "conflict", "right on gold", "finding")
    rows = [
        (
            row["rule"],
            ", ".join(row["classes"]),
            *(f"{row[key]:.1%}" for key in ("rule_coverage", "overlap", "conflict")),
            _right(row),
            row["finding"],
        )
        for row in told["rules"]
    ]
    models = told["label_models"]
    shown = {"rows": told["rows"], "covered": f"{told['covered']:.1%}"}
    if models:
        right = ", ".join(f"{name} {share:.1%}" for name, share in models["accuracy"].items())
        shown |= {"gold": models["gold"], "right on unseen gold": right, "verdict": models["verdict"]}
    return f"{table([head, *rows])}\n\n{pairs(shown)}"


def _right(row: dict[str, Any]) -> str:
    if row["accuracy"] is None:
        return "-"
    return f"{row['accuracy']:.0%} of {row['gold_votes']} [{row['low']:.0%}, {row['high']:.0%}]"
