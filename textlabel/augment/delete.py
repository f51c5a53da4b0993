"""Augment ``delete``: words are left out at random (EDA: Wei and Zou 2019, arXiv 1901.11196).

Of texts in scripts without spaces characters are left out instead of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textlabel.augment import check_share, chosen, pieces

if TYPE_CHECKING:
    from textlabel.models.backbone import Backbone

NAME = "delete"


@dataclass(frozen=True)
class Options:
    """How much is left out.

    Parameters
    ----------
    copies : changed copies of each text.
    share : probability of each word to be left out; one at least is, and one stays.
    """

    copies: int = 1
    share: float = 0.1

    def __post_init__(self) -> None:
        check_share(NAME, self.share, self.copies)


def augment(
    texts: Sequence[str], rng: np.random.Generator, backbone: Backbone, options: Options
) -> list[str]:
    """Return each text without some of its words."""
    return [_shorter(text, options.share, rng) for text in texts]


def _shorter(text: str, share: float, rng: np.random.Generator) -> str:
    parts, joiner = pieces(text)
    stays = rng.integers(max(len(parts), 1))
    gone = set(chosen(len(parts), share, rng).tolist())
    if gone == {stays}:  # the one that must go and the one that must stay are not the same
        gone = {(stays + 1) % len(parts)}
    left = [part for number, part in enumerate(parts) if number not in gone or number == stays]
    return joiner.join(left).strip()
