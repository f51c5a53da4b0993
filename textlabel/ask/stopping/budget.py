"""Stopping rule ``budget``: as many labels were asked as somebody had in mind."""

from __future__ import annotations

from collections.abc import Sequence

from textlabel.ask.stopping import Round

NAME = "budget"


def stop(rounds: Sequence[Round]) -> str:
    """Return why to stop, or an empty text."""
    if not rounds or not rounds[-1].budget or rounds[-1].labeled < rounds[-1].budget:
        return ""
    return f"the budget of {rounds[-1].budget} labels is spent"
