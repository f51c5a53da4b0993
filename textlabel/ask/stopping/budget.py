"""Stopping rule ``budget``: never by itself; whoever asks has a number of rows in mind."""

from __future__ import annotations

from collections.abc import Sequence

from textlabel.ask.stopping import Round

NAME = "budget"


def stop(rounds: Sequence[Round]) -> str:
    """Return an empty text."""
    return ""
