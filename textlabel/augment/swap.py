"""Augment ``swap``: words change places at random (EDA: Wei and Zou 2019, arXiv 1901.11196).

In texts of scripts without spaces characters do instead of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textlabel.augment import pieces
from textlabel.errors import RecipeError

if TYPE_CHECKING:
    from textlabel.models.backbone import Backbone

NAME = "swap"


@dataclass(frozen=True)
class Options:
    """How often words change places.

    Parameters
    ----------
    copies : changed copies of each text.
    swaps : how many times two words change places.
    """

    copies: int = 1
    swaps: int = 2

    def __post_init__(self) -> None:
        if self.swaps < 1 or self.copies < 1:
            raise RecipeError(
                f"swap: swaps = {self.swaps}, copies = {self.copies}; expected at least one each"
            )


def augment(
    texts: Sequence[str], rng: np.random.Generator, backbone: Backbone, options: Options
) -> list[str]:
    """Return each text with some words in other places."""
    return [_swapped(text, options.swaps, rng) for text in texts]


def _swapped(text: str, swaps: int, rng: np.random.Generator) -> str:
    parts, joiner = pieces(text)
    for _ in range(swaps if len(parts) > 1 else 0):
        one, other = rng.choice(len(parts), 2, replace=False)
        parts[one], parts[other] = parts[other], parts[one]
    return joiner.join(parts).strip()
