"""`textlabel choose-backbone` and `textlabel choose-source`: what to start from."""

from __future__ import annotations

from typing import Annotated

import typer

from textlabel.choose import BackboneScore, SourceScore, choose_backbone, choose_source
from textlabel.choose.backbone import PREFER
from textlabel.choose.backbone import ROWS as BACKBONE_ROWS
from textlabel.choose.source import ROWS as SOURCE_ROWS
from textlabel.cli.complete import backbone_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import say, say_json, table
from textlabel.labeler import DEFAULT_BACKBONE

_BACKBONE, _SOURCE = meanings(choose_backbone), meanings(choose_source)
_BACKBONE_HEADINGS = ("", "backbone", "accuracy", "nll", "behind", "LogME", "H-score", "texts/s", "MB")
_SOURCE_HEADINGS = ("", "source", "MMD", "A-distance", "Jaccard", "known words")
_LABEL_HEADINGS = ("accuracy", "likelihood", "LEEP", "NCE")


def backbone(
    train: Annotated[str, typer.Argument(metavar="TRAIN", help=_BACKBONE["train"])],
    candidates: Annotated[
        list[str], typer.Option(metavar="NAME...", help=_BACKBONE["candidates"], show_default=False)
    ] = [],  # noqa: B006 - typer copies it
    text_column: Annotated[
        list[str], typer.Option(help=f"{_BACKBONE['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006
    label_column: Annotated[str, typer.Option(help=_BACKBONE["label_column"])] = "label",
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_BACKBONE["on_bad_row"])] = "fail",
    max_rows: Annotated[int, typer.Option(help=_BACKBONE["max_rows"])] = BACKBONE_ROWS,
    prefer: Annotated[str, typer.Option(metavar="accuracy|speed", help=_BACKBONE["prefer"])] = PREFER[0],
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help=_BACKBONE["cache"])] = True,
    seed: Annotated[int, typer.Option(help=_BACKBONE["seed"])] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Tell which backbone to take for labeled rows.

    \b
    Example:
      textlabel choose-backbone labeled.csv --candidates potion-base-8M all-MiniLM-L6-v2

    A head on each backbone's features is judged on rows that it did not see. The choice, marked *, is the one
    of the highest LogME among those within one standard error of the most accurate; with --prefer speed
    the fastest of these. Column `behind` is how much accuracy a backbone lacks to the best. Writes nothing
    but features, to the cache.
    """
    found = choose_backbone(
        train,
        candidates,
        text_column=tuple(text_column),
        label_column=label_column,
        on_bad_row=on_bad_row,
        max_rows=max_rows,
        prefer=prefer,
        cache=cache,
        seed=seed,
    )
    if as_json:
        say_json(found.to_json())
        return
    lines = [_backbone_line(row, row.backbone == found.best) for row in found.rows]
    say(table([_BACKBONE_HEADINGS, *lines]) + f"\n\n{found.reason}.")


def source(
    target: Annotated[str, typer.Argument(metavar="TARGET", help=_SOURCE["target"])],
    sources: Annotated[list[str], typer.Option(metavar="CORPUS...", help=_SOURCE["sources"])],
    target_labels: Annotated[str, typer.Option(metavar="FILE", help=_SOURCE["target_labels"])] = "",
    text_column: Annotated[
        list[str], typer.Option(help=f"{_SOURCE['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    label_column: Annotated[str, typer.Option(help=_SOURCE["label_column"])] = "label",
    backbone: Annotated[
        str, typer.Option(autocompletion=backbone_names, help=_SOURCE["backbone"])
    ] = DEFAULT_BACKBONE,
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_SOURCE["on_bad_row"])] = "fail",
    max_rows: Annotated[int, typer.Option(help=_SOURCE["max_rows"])] = SOURCE_ROWS,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help=_SOURCE["cache"])] = True,
    seed: Annotated[int, typer.Option(help=_SOURCE["seed"])] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Tell which labeled corpus to learn from, for texts of another.

    \b
    Example:
      textlabel choose-source unlabeled.csv --sources films.csv products.csv
      textlabel choose-source unlabeled.csv --sources films.csv products.csv --target-labels few.csv

    Best first. Without labels of the target the MMD of the features decides. With some, a head of each source
    labels these rows: of the sources within one standard error of the highest likelihood (LEEP, where
    classes have other names) the one of the smallest MMD is first. Writes nothing but features, to the cache.
    """
    found = choose_source(
        target,
        sources,
        target_labels or None,
        text_column=tuple(text_column),
        label_column=label_column,
        backbone=backbone,
        on_bad_row=on_bad_row,
        max_rows=max_rows,
        cache=cache,
        seed=seed,
    )
    if as_json:
        say_json(found.to_json())
        return
    headings = (*_SOURCE_HEADINGS, *(_LABEL_HEADINGS if target_labels else ()))
    lines = [_source_line(row, row.source == found.best)[: len(headings)] for row in found.rows]
    say(table([headings, *lines]) + f"\n\n{found.reason}.")


def _backbone_line(row: BackboneScore, chosen: bool) -> tuple[str, ...]:
    return (
        "*" if chosen else "",
        row.backbone,
        f"{row.accuracy:.3f} ± {row.accuracy_error:.3f}",
        f"{row.nll:.3f} ± {row.nll_error:.3f}",
        f"{row.behind:.3f} ± {row.behind_error:.3f}",
        f"{row.logme:.3f}",
        f"{row.h_score:.3f}",
        f"{row.texts_per_second:,.0f}",
        f"{row.megabytes:,.1f}",
    )


def _source_line(row: SourceScore, chosen: bool) -> tuple[str, ...]:
    on_labels = (row.accuracy, row.likelihood, row.leep, row.nce)
    return (
        "*" if chosen else "",
        row.source,
        f"{row.mmd:z.4f}",
        f"{row.distance:z.2f} ± {row.distance_error:.2f}",
        f"{row.jaccard:.3f}",
        f"{row.known_words:.3f}",
        *("" if value is None else f"{value:z.3f}" for value in on_labels),
    )
