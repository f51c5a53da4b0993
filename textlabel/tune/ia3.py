"""Tune ``ia3``: one factor for each dimension of keys, values and what the feed-forward layers hold inside.

A few thousand numbers in all (Liu et al. 2022, arXiv 2205.05638); they want a high rate, 3e-3 say. Keys and
values are found by the names that families give them; where queries, keys and values are one map, all of it
is scaled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError
from textlabel.tune import adapted_layers

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

NAME = "ia3"
PARTS = frozenset({"body", "head"})

#: the last part of the name of a map to keys, to values, or to both
_KEY_OR_VALUE = re.compile(r"(?:k|v|key|value)(?:_lin|_proj)?|Wqkv|qkv(?:_proj)?|query_key_value")


@dataclass(frozen=True)
class Options:
    """Where the factors are.

    Parameters
    ----------
    layers : how many layers get factors, counted from the top; 0: all. The layers below are then run only
        once a row, without dropout.
    """

    layers: int = 0

    def __post_init__(self) -> None:
        if self.layers < 0:
            raise RecipeError(f"ia3: layers = {self.layers}; expected 0 or more")


def apply(classifier: Classifier, options: Options) -> None:
    """Wrap the body with peft; the factors and the head train, everything else is frozen."""
    from peft import IA3Config, get_peft_model

    names = adapted_layers(classifier, NAME, options.layers)
    attention = [name for name in names if _KEY_OR_VALUE.fullmatch(name.rpartition(".")[2])]
    if not attention:
        raise RecipeError(
            f"ia3: backbone {classifier.info.name!r} has no keys and values by names that are known here; "
            "use recipe 'lora'"
        )
    inner = _feed_forward_outputs(names)
    classifier.requires_grad_(False)
    config = IA3Config(target_modules=[*attention, *inner], feedforward_modules=inner)
    classifier.wrap_adapter(lambda body: get_peft_model(body, config))
    classifier.head.requires_grad_(True)


def _feed_forward_outputs(names: Sequence[str]) -> list[str]:
    """Return the last linear map of each layer outside of its attention.

    Examples
    --------
    >>> _feed_forward_outputs(["layer.0.attn.k", "layer.0.up", "layer.0.down", "layer.1.up", "layer.1.down"])
    ['layer.0.down', 'layer.1.down']
    """
    from textlabel.models.classifier import LAYER

    last: dict[str, str] = {}
    for name in names:
        layer = LAYER.search(name)
        if layer and "attention" not in name and "attn" not in name:
            last[name[: layer.end()]] = name
    return list(last.values())
