"""Tune ``partial``: the last k encoder layers and the head; everything below is frozen and run once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

NAME = "partial"
PARTS = frozenset({"body", "head"})


@dataclass(frozen=True)
class Options:
    """How many layers train, counted from the top."""

    layers: int = 2

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise RecipeError(f"partial: layers = {self.layers}; expected at least 1")


def apply(classifier: Classifier, options: Options) -> None:
    """Unfreeze the parameters of the last layers, of any norm above them, and of the head."""
    depths = classifier.depths()
    top = max(depths.values(), default=0)
    if top < 1:
        raise RecipeError(
            f"partial: backbone {classifier.info.name!r} has no numbered layers; "
            "use recipe 'full', 'lora' or 'head'"
        )
    if classifier.shares_layers:
        raise RecipeError(
            f"partial: the layers of backbone {classifier.info.name!r} are one set of weights, so the last "
            "of them cannot train alone; use recipe 'lora', 'full' or 'head'"
        )
    classifier.requires_grad_(False)
    for name, parameter in classifier.body.named_parameters():
        parameter.requires_grad_(depths[name] > max(top - options.layers, 0))
    classifier.head.requires_grad_(True)
    classifier.body_changed = True
