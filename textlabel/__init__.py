"""textlabel: a few labels and a pile of text in; a labeled corpus you can defend out.

Public names are imported on first use (PEP 562), so ``import textlabel`` loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textlabel.backbone_training import train_backbone
    from textlabel.corpus.load import load_corpus
    from textlabel.engine.cluster import Cluster
    from textlabel.engine.tracking import tracked
    from textlabel.errors import TextlabelError
    from textlabel.labeler import Labeler
    from textlabel.multi_labeler import MultiLabeler
    from textlabel.recipe import Recipe, Stage
    from textlabel.types import LabelSchema, Predictions

__version__ = "0.1.0"

_HOMES = {
    "Cluster": "textlabel.engine.cluster",
    "LabelSchema": "textlabel.types",
    "Labeler": "textlabel.labeler",
    "MultiLabeler": "textlabel.multi_labeler",
    "Predictions": "textlabel.types",
    "Recipe": "textlabel.recipe",
    "Stage": "textlabel.recipe",
    "TextlabelError": "textlabel.errors",
    "load_corpus": "textlabel.corpus.load",
    "tracked": "textlabel.engine.tracking",
    "train_backbone": "textlabel.backbone_training",
}

__all__ = [
    "Cluster",
    "LabelSchema",
    "Labeler",
    "MultiLabeler",
    "Predictions",
    "Recipe",
    "Stage",
    "TextlabelError",
    "__version__",
    "load_corpus",
    "tracked",
    "train_backbone",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'textlabel' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
