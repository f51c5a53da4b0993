"""Tune ``norms``: scale and shift of every layer norm of the body, and nothing else.

A few thousand numbers, which turn and stretch what the layers say and learn nothing anew: enough to follow
texts of another domain without labels (Wang et al. 2021, arXiv 2006.10726). The head stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

NAME = "norms"
PARTS = frozenset({"body"})


@dataclass(frozen=True)
class Options:
    """Training the layer norms has no options of its own."""


def apply(classifier: Classifier, options: Options) -> None:
    """Make scales and shifts of the layer norms trainable, also of one that several layers share."""
    from torch import nn

    norms = [module for module in classifier.body.modules() if isinstance(module, nn.LayerNorm)]
    numbers = [parameter for norm in norms for parameter in norm.parameters()]
    if not numbers:
        raise RecipeError(
            f"norms: backbone {classifier.info.name!r} has no layer norms with a scale; use tune 'lora' or "
            "'full'"
        )
    classifier.requires_grad_(False)
    for number in numbers:
        number.requires_grad_(True)
    classifier.body_changed = True
