"""Tune ``dora``: low-rank updates of the direction of weights, and their size trained apart.

Each row of a weight matrix is a direction and a size; the low-rank update turns the former (Liu et al. 2024,
arXiv 2402.09353). Helps most at low ranks, and is slower than ``lora``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError
from textlabel.tune import adapted_layers

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

NAME = "dora"
PARTS = frozenset({"body", "head"})


@dataclass(frozen=True)
class Options:
    """Size and place of the update.

    Parameters
    ----------
    rank : rank r of each update.
    alpha : scale; the update is multiplied by alpha / rank. 0: twice the rank.
    dropout : dropout on the input of the update; it makes training slower.
    layers : how many layers get an update, counted from the top; 0: all.
    """

    rank: int = 4
    alpha: float = 0.0
    dropout: float = 0.0
    layers: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha < 0 or self.layers < 0 or not 0 <= self.dropout < 1:
            raise RecipeError(
                f"dora: rank {self.rank}, alpha {self.alpha}, dropout {self.dropout}, layers {self.layers}: "
                "one is out of range; expected rank >= 1, alpha >= 0, dropout in [0, 1), layers >= 0"
            )


def apply(classifier: Classifier, options: Options) -> None:
    """Wrap the body with peft; the updates, the sizes and the head train, everything else is frozen."""
    from textlabel.models.low_rank import add_update

    add_update(
        classifier,
        adapted_layers(classifier, NAME, options.layers),
        r=options.rank,
        lora_alpha=options.alpha or 2 * options.rank,
        lora_dropout=options.dropout,
        use_dora=True,
    )
