"""People check a sealed corpus: draw, answer, certify, label the rest, finish.

Everything that people add to a folder of annotations lies in its ``audit/``; the annotations themselves are
never rewritten. Nothing that fits, calibrates, orders or selects imports this package.

    audit/draw-1.json           which rows, by which seed, from which seal, what counts as an error
    audit/answers.jsonl         append-only: who answered what on which row
    audit/certificate-1.json    what was promised, at which look
    audit/released.json         the answers were given away to training; nothing more can be certified
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textlabel.audit.answers import import_answers
    from textlabel.audit.certification import certify
    from textlabel.audit.draws import draw, sheet
    from textlabel.audit.estimation import shares
    from textlabel.audit.finishing import finish, todo
    from textlabel.audit.handover import release, reuse
    from textlabel.audit.planning import plan

_HOMES = {
    "certify": "certification",
    "draw": "draws",
    "finish": "finishing",
    "import_answers": "answers",
    "plan": "planning",
    "release": "handover",
    "reuse": "handover",
    "shares": "estimation",
    "sheet": "draws",
    "todo": "finishing",
}

__all__ = [
    "certify",
    "draw",
    "finish",
    "import_answers",
    "plan",
    "release",
    "reuse",
    "shares",
    "sheet",
    "todo",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'textlabel.audit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"textlabel.audit.{_HOMES[name]}"), name)
