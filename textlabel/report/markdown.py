"""Markdown of cards: what comes from a record means itself, whatever signs it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> str:
    """Return ``value`` as one line in which Markdown and HTML signs mean themselves."""
    return re.sub(r"([\\`*_{}\[\]<>#|$&~])", r"\\\1", " ".join(str(value).split()))


def table(head: tuple[str, str], rows: Mapping[str, str]) -> str:
    """Return a table of two columns; what stands in it is Markdown already."""
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join(lines + [f"| {key} | {value} |" for key, value in rows.items()])


def coded_keys(rows: Mapping[str, str]) -> dict[str, str]:
    """Return a dict whose keys are written as code."""
    return {f"`{key}`": value for key, value in rows.items()}
