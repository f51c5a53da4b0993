"""What tells two domains apart, and the layer that turns it against the body.

Gradient reversal and the discriminator are those of Ganin et al. 2016 (arXiv 1505.07818); how the latter sees
features and classes together is that of Long et al. 2018 (arXiv 1705.10667).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

#: outer products of more numbers than this are replaced by a random map to `RANDOM_WIDTH` numbers
WIDEST_OUTER = 4096
RANDOM_WIDTH = 1024


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * gradients[0], None


def reverse(values: Tensor, factor: float) -> Tensor:
    """Return ``values`` as they are; on the way back their gradient is multiplied by ``-factor``."""
    found: Tensor = _Reversal.apply(values, factor)  # type: ignore[no-untyped-call]
    return found


class Discriminator(nn.Module):
    """One hidden layer, and the log-odds (b,) that a row is of the source domain.

    Parameters
    ----------
    width : numbers a row.
    hidden : units of the hidden layer.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, values: Tensor) -> Tensor:
        """Return the log-odds (b,) of rows (b, width)."""
        found: Tensor = self.layers(values).squeeze(-1)
        return found


class Joint(nn.Module):
    """Features and class probabilities of a row as one vector: their outer product, or a random map of it.

    The random map is a product of two projections whose inner products are, in the mean, those of the outer
    products. It is drawn once, from torch's generator, and never trained.

    Parameters
    ----------
    width, classes : features and probabilities a row.
    """

    first: Tensor
    second: Tensor

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.outer = width * classes <= WIDEST_OUTER
        self.width = width * classes if self.outer else RANDOM_WIDTH
        if not self.outer:
            self.register_buffer("first", torch.randn(width, RANDOM_WIDTH))
            self.register_buffer("second", torch.randn(classes, RANDOM_WIDTH))

    def forward(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """Return (b, self.width) of features (b, d) and probabilities (b, k)."""
        if self.outer:
            return (probabilities[:, :, None] * features[:, None, :]).flatten(1)
        found: Tensor = (features @ self.first) * (probabilities @ self.second) / self.width**0.5
        return found
