"""Tune ``bitfit``: every bias and the head (Ben Zaken et al. 2021, arXiv 2106.10199)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

NAME = "bitfit"
PARTS = frozenset({"body", "head"})


@dataclass(frozen=True)
class Options:
    """Training the biases has no options of its own."""


def apply(classifier: Classifier, options: Options) -> None:
    """Make the biases of the body, those of its norms included, and the head trainable."""
    biases = [p for name, p in classifier.body.named_parameters() if name.endswith("bias")]
    if not biases:
        raise RecipeError(
            f"bitfit: backbone {classifier.info.name!r} has no biases; use recipe 'lora' or 'ia3'"
        )
    classifier.requires_grad_(False)
    for bias in biases:
        bias.requires_grad_(True)
    classifier.head.requires_grad_(True)
    classifier.body_changed = True
