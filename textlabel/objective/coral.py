"""Objective ``coral``: cross-entropy on the source, and features whose covariances are one in both domains.

Deep CORAL (Sun & Saenko 2016, arXiv 1607.01719). It does not look at the means of the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textlabel.objective import OverDomains, check_strength

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.models.classifier import Output
    from textlabel.protocols import Batch

NAME = "coral"
ROLES = frozenset({"labeled", "unlabeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body", "head"})
INCLUDES = frozenset({"cross_entropy"})


@dataclass(frozen=True)
class Options:
    """How much the covariances count.

    Parameters
    ----------
    strength : weight of the distance beside cross-entropy. The distance is divided by the square of the
        number of features: it is small where covariances differ in few directions.
    """

    strength: float = 10.0

    def __post_init__(self) -> None:
        check_strength("coral", self.strength)


class Objective(OverDomains):
    """Cross-entropy plus the distance of the covariances of a batch's two domains."""

    compares: ClassVar[bool] = True

    def transfer(self, found: Mapping[str, Output], batch: Batch) -> Tensor:
        """Return the weighted distance of the covariances of the whole batch."""
        import torch

        source, target = found["labeled"].features, found["unlabeled"].features
        with torch.autocast(source.device.type, enabled=False):
            distance = coral(source, target)
        loss: Tensor = self.options.strength * distance
        return loss


def coral(source: Tensor, target: Tensor) -> Tensor:
    """Return the squared Frobenius distance of the covariances of rows (b, d), over 4 d^2."""
    gap = covariance(source) - covariance(target)
    return gap.square().sum() / (4 * source.shape[1] ** 2)


def covariance(rows: Tensor) -> Tensor:
    """Return the unbiased covariance (d, d) of rows (b, d), b > 1."""
    centered = rows - rows.mean(dim=0)
    return centered.T @ centered / (len(rows) - 1)
