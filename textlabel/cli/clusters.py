"""`textlabel clusters`: texts in groups, before there is a label."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from textlabel.cli.complete import backbone_names
from textlabel.cli.keys import meanings
from textlabel.cli.output import pairs, say, say_json, table
from textlabel.text_clusters import MOST, TextClusters

_HELP = meanings(TextClusters)

#: signs of a text that are shown to people; --json has all of it
WIDTH = 56


def clusters(
    corpus: Annotated[str, typer.Argument(metavar="CORPUS", help=_HELP["corpus"])],
    out: Annotated[str, typer.Option(metavar="FILE", help=_HELP["out"])] = "",
    clusters: Annotated[int, typer.Option(metavar="K", help=_HELP["clusters"])] = TextClusters.clusters,
    max_clusters: Annotated[int, typer.Option(help=_HELP["max_clusters"])] = MOST,
    names: Annotated[str, typer.Option(metavar="NAME,NAME", help=f"{_HELP['names']} Parted by commas.")] = "",
    backbone: Annotated[
        str, typer.Option(autocompletion=backbone_names, help=_HELP["backbone"])
    ] = TextClusters.backbone,
    text_column: Annotated[
        list[str], typer.Option(help=f"{_HELP['text_column']} Repeat the option for several.")
    ] = ["text"],  # noqa: B006 - typer copies it
    id_column: Annotated[str, typer.Option(help=_HELP["id_column"])] = "",
    split: Annotated[str, typer.Option(help=_HELP["split"])] = "",
    config: Annotated[str, typer.Option(help=_HELP["config"])] = "",
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = TextClusters.seed,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help=_HELP["cache"])] = True,
    on_bad_row: Annotated[str, typer.Option(metavar="fail|skip", help=_HELP["on_bad_row"])] = "fail",
    reject_file: Annotated[str, typer.Option(metavar="FILE", help=_HELP["reject_file"])] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Group texts where there is no label yet, as a start.

    \b
    Example:
      textlabel clusters corpus.csv
      textlabel clusters corpus.csv --clusters 8 --names "refund,card lost,delivery" --out groups.csv

    k-means on a frozen backbone's features. A cluster is told by terms that its texts have and others lack,
    by the texts nearest to its center, and by the nearest of the names that you propose. How many there are
    is seen from random halves of the texts: the gain is how much better the clusters of two halves agree
    than those of rows without clusters would, and * marks the choice, the most clusters within one standard
    error of the best gain. Clusters are not classes: what parts a corpus most clearly may not be what you
    are after. Read the file, put your own labels into its column `name`, and train on it:

    \b
      textlabel fit groups.csv --label-column name --out model

    Column `central` marks the half of each cluster that is nearest to its center, where it is purest. Of more
    than 10,000 different texts as many random ones make the clusters, and all rows are then assigned.
    """
    told = TextClusters(
        corpus,
        out,
        clusters=clusters,
        max_clusters=max_clusters,
        names=tuple(name.strip() for name in names.split(",")) if names else (),
        backbone=backbone,
        text_column=tuple(text_column),
        id_column=id_column,
        split=split,
        config=config,
        seed=seed,
        cache=cache,
        on_bad_row=on_bad_row,
        reject_file=reject_file,
    ).run()
    say_json(told) if as_json else say(render(told))


def render(told: dict[str, Any]) -> str:
    """Return the clusters for people, and how their number came about."""
    groups, tried = told["groups"], told.get("stability", ())
    numbers = pairs({key: value for key, value in told.items() if key not in ("groups", "stability")})
    named = "score" in groups[0]
    headings = ("cluster", "rows", "share", "terms", *(("nearest name", "score") if named else ()))
    rows = [
        (
            *(str(one["cluster"]), f"{one['rows']:,}", f"{one['share']:.1%}", ", ".join(one["terms"])),
            *((one["nearest"], f"{one['score']:.2f}") if named else ()),
        )
        for one in groups
    ]
    texts = [(str(one["cluster"]), short(text)) for one in groups for text in one["texts"]]
    parts = [numbers, table([headings, *rows]), table([("cluster", "central texts"), *texts])]
    return "\n\n".join([*parts, *([table(_stability(tried, told["clusters"]))] if tried else [])])


def short(text: str, width: int = WIDTH) -> str:
    """Return a text on one line, cut where it is long.

    Examples
    --------
    >>> short("a long\\n text", width=8)
    'a long …'
    """
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _stability(tried: list[dict[str, Any]], chosen: int) -> list[tuple[str, ...]]:
    """Return the table of how stable each number of clusters is."""
    rows = [
        (
            "*" if one["clusters"] == chosen else "",
            *(str(one["clusters"]), f"{one['agreement']:.3f}", f"{one['without']:.3f}"),
            f"{one['gain']:.3f} ± {one['standard_error']:.3f}",
        )
        for one in tried
    ]
    return [("", "clusters", "halves agree", "without clusters", "gain"), *rows]
