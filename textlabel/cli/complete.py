"""What the Tab key offers as value of an option."""

from __future__ import annotations


def recipe_names(incomplete: str) -> list[str]:
    """Return the shipped recipes that begin so."""
    from textlabel.recipe import shipped

    return [name for name in shipped() if name.startswith(incomplete)]


def backbone_names(incomplete: str) -> list[str]:
    """Return the registered backbones that begin so."""
    from textlabel.models import catalog

    return [name for name in catalog.entries() if name.startswith(incomplete)]
