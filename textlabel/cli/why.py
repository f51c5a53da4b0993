"""`textlabel why`: which words gave a text its label."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import say, say_json
from textlabel.explaining import Why

_HELP = meanings(Why)


def why(
    corpus: Annotated[str, typer.Argument(metavar="[CORPUS]", help=_HELP["corpus"])] = "",
    model: Annotated[str, typer.Option(metavar="MODEL", help=_HELP["model"])] = "",
    text: Annotated[list[str], typer.Option(help=f"{_HELP['texts']} Repeat the option for several.")] = [],  # noqa: B006 - typer copies it
    out: Annotated[str, typer.Option(metavar="FILE", help=_HELP["out"])] = "",
    method: Annotated[str, typer.Option(help=_HELP["method"])] = Why.method,
    neighbors: Annotated[str, typer.Option(metavar="FILE", help=_HELP["neighbors"])] = "",
    rules: Annotated[
        list[str], typer.Option(metavar="FILE", help=f"{_HELP['rules']} Repeat the option for several.")
    ] = [],  # noqa: B006
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006
    label_column: Annotated[str, typer.Option(help=_HELP["label_column"])] = Why.label_column,
    rows: Annotated[int, typer.Option(help=_HELP["rows"])] = Why.rows,
    top: Annotated[int, typer.Option(help=_HELP["top"])] = Why.top,
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = Why.seed,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Tell which words gave a text its label, and without which it would have another.

    \b
    Example:
      textlabel why --text "The battery dies within an hour." --model model --neighbors labeled.csv
      textlabel why labeled --model model --rules rules.toml --rows 500 --out why.jsonl

    A word's score is how far it moves the log-odds of the label (nats), by leaving it out; gradients are
    faster on long texts, and less faithful. `faithful` tells how much further the label falls without the
    strongest fifth of the words than without random ones: near 0, do not believe the scores. They tell
    what moved this model, not what is true.
    """
    told = Why(
        corpus,
        tuple(text),
        model=model,
        out=out,
        method=method,
        neighbors=neighbors,
        rules=tuple(rules),
        text_column=tuple(text_column),
        label_column=label_column,
        rows=rows,
        top=top,
        seed=seed,
    ).run()
    say_json({"rows": told}) if as_json else say("\n\n".join(map(render, told)))


def render(told: dict[str, Any]) -> str:
    """Return one explanation for people."""
    scored = zip(told["words"], told["word_scores"], strict=True)
    lines = [told["text"]]
    if told["label"] is not None:
        lines.append(f"  label    {told['label']}")
    lines.append("  words    " + ", ".join(f"{word} {score:+.2f}" for word, score in scored))
    if told["becomes"] is not None:
        lines.append(f"  without  {', '.join(told['without'])}: {told['becomes']}")
    if told["faithful"] is not None:
        lines.append(f"  faithful {told['faithful']:+.2f}")
    if "rules" in told:
        said = ", ".join(f"{one['rule']} says {one['label']}" for one in told["rules"])
        lines.append(f"  rules    {said or 'none of them fires'}")
    near = told.get("neighbors", ())
    lines += [f"  near     {one['similarity']:.2f} [{one['label']}] {one['text']}" for one in near]
    return "\n".join(lines)
