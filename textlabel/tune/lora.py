"""Tune ``lora``: low-rank updates beside every chosen linear layer (Hu et al. 2021, arXiv 2106.09685).

peft's own defaults have no targets for several architectures and silently re-randomize layers that
were newly initialized at loading. Both cannot happen here: targets are found by structure, poolers
are never among them, and the head is ours and outside of peft.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError
from textlabel.tune import adapted_layers

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

NAME = "lora"
PARTS = frozenset({"body", "head"})


@dataclass(frozen=True)
class Options:
    """Size and place of the update.

    Parameters
    ----------
    rank : rank r of each update.
    alpha : scale; the update is multiplied by alpha / rank. 0: twice the rank.
    dropout : dropout on the input of the update; it makes training slower.
    targets : "all" linear layers of the encoder, or "attention" only.
    layers : how many layers get an update, counted from the top; 0: all. The layers below are then run only
        once a row, without dropout.
    rslora : scale by alpha / sqrt(rank) instead (Kalajdzievski 2023, arXiv 2312.03732).
    """

    rank: int = 8
    alpha: float = 0.0
    dropout: float = 0.0
    targets: str = "all"
    layers: int = 0
    rslora: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha < 0 or self.layers < 0 or not 0 <= self.dropout < 1:
            raise RecipeError(
                f"lora: rank {self.rank}, alpha {self.alpha}, dropout {self.dropout}, layers {self.layers}: "
                "one is out of range; expected rank >= 1, alpha >= 0, dropout in [0, 1), layers >= 0"
            )
        if self.targets not in ("all", "attention"):
            raise RecipeError(f"lora: targets = {self.targets!r}; expected 'all' or 'attention'")


def apply(classifier: Classifier, options: Options) -> None:
    """Wrap the body with peft; the update and the head train, everything else is frozen."""
    from textlabel.models.low_rank import add_update

    names = adapted_layers(classifier, NAME, options.layers, attention_only=options.targets == "attention")
    add_update(
        classifier,
        names,
        r=options.rank,
        lora_alpha=options.alpha or 2 * options.rank,
        lora_dropout=options.dropout,
        use_rslora=options.rslora,
    )
