"""What the command line prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer


def is_main_process() -> bool:
    """Return whether this process may print: launchers number theirs in ``RANK``, and only 0 may."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    """Print a result on stdout."""
    if is_main_process():
        typer.echo(text)


def say_json(value: Any) -> None:
    """Print a result on stdout as one JSON object."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def complain(message: str) -> None:
    """Print a message on stderr; other processes than the main one say who they are."""
    rank = "" if is_main_process() else f" (process {os.environ['RANK']})"
    typer.echo(f"textlabel{rank}: {message}", err=True)


def pairs(values: Mapping[str, object]) -> str:
    """Return one line a value, the values aligned; what is empty is left out.

    Examples
    --------
    >>> print(pairs({"rows": 3622, "model_folder": "out", "rejected": None}))
    rows          3,622
    model folder  out
    """
    told = {name.replace("_", " "): _plain(value) for name, value in values.items() if _there(value)}
    width = max(map(len, told))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in told.items())


def by_task(summary: Mapping[str, Any], render: Callable[[dict[str, Any]], str]) -> str:
    """Return a summary of several tasks: what is of all of them, then that of each under its name.

    Examples
    --------
    >>> print(by_task({"model": "m", "tasks": {"topic": {"rows": 5}}}, pairs))
    model  m
    <BLANKLINE>
    [topic]
    rows  5
    """
    whole = pairs({name: value for name, value in summary.items() if name != "tasks"})
    return "\n\n".join([whole, *(f"[{task}]\n{render(one)}" for task, one in summary["tasks"].items())])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return lines whose columns align, without trailing spaces.

    Examples
    --------
    >>> print(table([("name", "MB"), ("tiny", "1")]))
    name  MB
    tiny  1
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


class Lines(logging.Handler):
    """Writes log records to stderr as plain lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        print(self.format(record), file=sys.stderr)


def log_to_stderr() -> None:
    """Show what the library tells (INFO and above) on stderr, from the main process only."""
    log = logging.getLogger("textlabel")
    log.handlers[:] = [Lines()]
    log.setLevel(logging.INFO if is_main_process() else logging.ERROR)


def _there(value: object) -> bool:
    return value is not None and value != [] and value != {}


def _plain(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(number)}" for name, number in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
