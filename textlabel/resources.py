"""Where the shipped recipes, templates and demo data lie: one copy, in a checkout or in a wheel."""

from __future__ import annotations

from pathlib import Path

from textlabel.errors import TextlabelError


def resource(relative: str) -> Path:
    """Return the path of a shipped file or folder such as ``data/reviews`` or ``recipes/head.toml``.

    A wheel carries them inside the package; a checkout has them beside it.

    Examples
    --------
    >>> resource("recipes").is_dir()
    True
    """
    package = Path(__file__).parent
    for root in (package / "_resources", package.parent):
        if (root / relative).exists():
            return root / relative
    raise TextlabelError(f"the shipped file {relative!r} is missing; reinstall textlabel")
