"""What a page is made of: sections, tables, figures. Every text in them is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

#: numbers of a figure up to which they are printed on paper, too
PRINTED = 24


def section(title: str, *parts: str, kind: str = "") -> str:
    """Return a section under its title; nothing where it would be empty. ``screen``: it is not printed."""
    inside = "\n".join(part for part in parts if part)
    start = f"<section class='{kind}'>" if kind else "<section>"
    return f"{start}\n<h2>{escape(title)}</h2>\n{inside}\n</section>" if inside else ""


def pairs(rows: Mapping[str, Any]) -> str:
    """Return names and values as a table; what is unknown is left out."""
    cells = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{escape(said(value))}</td></tr>"
        for name, value in rows.items()
        if value is not None and value != ""
    )
    return f"<table class='pairs'>{cells}</table>" if cells else ""


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", kind: str = "") -> str:
    """Return a table; numbers stand to the right. ``kind`` is its class in the style sheet."""
    if not rows:
        return ""
    top = "".join(f"<th scope='col'>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=number' if isinstance(v, int | float) else ''}>{escape(said(v))}</td>" for v in row
        )
        + "</tr>"
        for row in rows
    )
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    start = f"<table class='{kind}'>" if kind else "<table>"
    return f"<div class='wide'>{start}{told}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def figure(drawing: str, head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str) -> str:
    """Return a drawing with its numbers as a table."""
    kind = "numbers" if len(rows) <= PRINTED else "numbers long"
    numbers = f"<details class='{kind}'><summary>numbers</summary>{table(head, rows)}</details>"
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption>{numbers}</figure>"


def said(value: Any) -> str:
    """Return a value as a reader has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {said(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(said, value))
    return str(value)


def percent(value: float | None) -> str:
    """Return a share in percent."""
    return "" if value is None else f"{value:.1%}"


def limits(low: float | None, high: float | None) -> str:
    """Return the limits of a share in percent; nothing where they are unknown."""
    return "" if low is None or high is None else f"{low:.1%} to {high:.1%}"
