"""What makes features out of noise, and what tells them from those of texts (Croce et al. 2020, GAN-BERT)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: slope of hidden units below zero, as in the paper
SLOPE = 0.2


class Generator(nn.Module):
    """Features (b, width) of noise, by one hidden layer.

    Parameters
    ----------
    noise, hidden, width : numbers that a row is made of, hidden units, and numbers of a row.
    dropout : share of hidden units that are left out in training.
    """

    def __init__(self, noise: int, hidden: int, width: int, dropout: float) -> None:
        super().__init__()
        self.noise = noise
        self.layers = nn.Sequential(
            nn.Linear(noise, hidden), nn.LeakyReLU(SLOPE), nn.Dropout(dropout), nn.Linear(hidden, width)
        )

    def forward(self, count: int) -> Tensor:
        """Return ``count`` rows (count, width), of noise that is drawn from U(0, 1)."""
        device = next(self.parameters()).device
        found: Tensor = self.layers(torch.rand(count, self.noise, device=device))
        return found


class ExtraClass(nn.Module):
    """One hidden layer, and the logit of one class more than those of labels: "not of a text".

    Parameters
    ----------
    width, hidden : numbers of a row, and units of the hidden layer.
    dropout : share of hidden units that are left out in training.
    """

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.seen = nn.Sequential(nn.Linear(width, hidden), nn.LeakyReLU(SLOPE), nn.Dropout(dropout))
        self.logit = nn.Linear(hidden, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logit (b,) of rows (b, width), and the hidden layer (b, hidden)."""
        hidden: Tensor = self.seen(features)
        return self.logit(hidden).squeeze(-1), hidden
