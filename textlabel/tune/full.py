"""Tune ``full``: every weight of the body and the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

NAME = "full"
PARTS = frozenset({"body", "head"})


@dataclass(frozen=True)
class Options:
    """Full fine-tuning has no options of its own."""


def apply(classifier: Classifier, options: Options) -> None:
    """Make everything trainable; an unused pooler gets no gradient and stays as it is."""
    classifier.requires_grad_(True)
    classifier.body_changed = True
