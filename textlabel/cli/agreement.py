"""`textlabel agreement`: how far the people who labeled agree."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json, table
from textlabel.reviewers import ReviewerAgreement

_HELP = meanings(ReviewerAgreement)

#: classes and pairs that are shown to people; --json has them all
SHOWN = 10


def agreement(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=_HELP["source"])],
    tool: Annotated[str, typer.Option("--from", metavar="TOOL", help=_HELP["tool"])] = "",
    out: Annotated[str, typer.Option(metavar="FILE", help=_HELP["out"])] = "",
    seed: Annotated[int, typer.Option(min=0, help=_HELP["seed"])] = ReviewerAgreement.seed,
    kind: Annotated[str, typer.Option(metavar="single|multi|score", help=_HELP["kind"])] = "",
    text_column: Annotated[str, typer.Option(help=_HELP["text_column"])] = ReviewerAgreement.text_column,
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = ReviewerAgreement.label_column,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Tell how far reviewers agree: in all, by class, by pair of them, and list where they differ.

    \b
    Example:
      textlabel audit import labeled anna.csv --reviewer anna
      textlabel audit import labeled ben.csv --reviewer ben
      textlabel agreement labeled --out differ.csv

    `same` is the share of pairs of answers to one text that are equal. Krippendorff's alpha takes off what
    chance would give: 1 is full agreement, 0 none but by chance; below 0.67 labels are a poor ground to learn
    from. By class: that class against all others, the most disputed first. Limits are of 95 %.
    """
    told = ReviewerAgreement(source, tool, out, seed, kind, text_column, label_column).run()
    say_json(told) if as_json else say(render(told))


def render(told: dict[str, Any]) -> str:
    """Return the numbers for people."""
    plain = {name: value for name, value in told.items() if name not in ("classes", "pairs")}
    plain |= {name: _limits(plain[name]) for name in ("same_limits", "alpha_limits")}
    parts = [pairs(plain)]
    classes = [(one["class"], f"{one['answers']:,}", *_cells(one)) for one in told["classes"][:SHOWN]]
    if classes:
        parts.append(table([("class", "answers", "same", "alpha", "95 %"), *classes]))
    two = [
        (" and ".join(one["reviewers"]), f"{one['texts']:,}", *_cells(one)) for one in told["pairs"][:SHOWN]
    ]
    parts.append(table([("reviewers", "texts", "same", "alpha", "95 %"), *two]))
    return "\n\n".join(parts)


def _cells(one: dict[str, Any]) -> tuple[str, str, str]:
    alpha = "" if one["alpha"] is None else f"{one['alpha']:.2f}"
    return f"{one['same']:.1%}", alpha, _limits(one["alpha_limits"])


def _limits(found: list[float | None]) -> str:
    low, high = found
    return "" if low is None or high is None else f"{low:.2f} to {high:.2f}"
