"""What trains: one file, one way to make parameters trainable. Here is what updates of peft share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textlabel.errors import RecipeError

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier


def adapted_layers(
    classifier: Classifier, tune: str, layers: int, *, attention_only: bool = False
) -> list[str]:
    """Return the names of the linear layers of the body that a tune may adapt.

    Parameters
    ----------
    tune : its name, for messages.
    layers : how many encoder layers, counted from the top; 0: all.

    Raises
    ------
    RecipeError : there are none, or the layers are one set of weights, of which none are on top.
    """
    if layers and classifier.shares_layers:
        raise RecipeError(
            f"{tune}: layers = {layers}, but the layers of backbone {classifier.info.name!r} are one set of "
            "weights; leave it out, and all of them share one update"
        )
    names = classifier.linear_layers(attention_only, layers)
    if not names:
        raise RecipeError(
            f"{tune}: backbone {classifier.info.name!r} has no linear layers; use recipe 'head', or "
            "a stage with tune = 'full'"
        )
    return names
