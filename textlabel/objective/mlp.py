"""Objective ``mlp``: one hidden layer on cached features, trained by gradient (tune ``head`` only).

The strength that cross-validation chooses is AdamW's weight decay (Loshchilov and Hutter 2019, arXiv
1711.05101). The number of steps is fixed, so no row is needed to tell when to stop; the rate falls to zero.
New weights and the order of rows are one fixed draw: the same rows make the same head.

On seven sets such a head was .2 (8 labels a class) and 3.3 points (64) less accurate than logistic regression
(recipes/benchmarks/few_labels_heads.py), which is why nothing takes it by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from textlabel.errors import RecipeError
from textlabel.models.heads import one_hot, singular_basis
from textlabel.models.nonlinear import Perceptron
from textlabel.types import FloatArray, IntArray

NAME = "mlp"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"head"})
#: weight decay stands beside steps, not beside a mean over rows
PENALTY = False
#: nothing trains its head further
FINAL = True
#: rows of a step: fewer rows are all read in each
BATCH = 256


@dataclass(frozen=True)
class Options:
    """Size of the network, and how long it trains.

    Parameters
    ----------
    hidden : units of the hidden layer.
    steps : of gradient descent, each on at most `BATCH` rows.
    learning_rate : of AdamW, at the first step.
    dropout : share of hidden units left out in each step, in [0, 1).
    """

    hidden: int = 64
    steps: int = 200
    learning_rate: float = 0.01
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.steps < 1 or self.learning_rate <= 0 or not 0 <= self.dropout < 1:
            raise RecipeError(
                f"mlp: hidden = {self.hidden}, steps = {self.steps}, learning_rate = {self.learning_rate}, "
                f"dropout = {self.dropout}; expected hidden and steps >= 1, a rate > 0, dropout in [0, 1)"
            )


def fit_linear(
    features: FloatArray,
    targets: IntArray | FloatArray,
    classes: int,
    strengths: Sequence[float],
    options: Options,
) -> Iterator[Perceptron]:
    """Yield networks, one a weight decay.

    Parameters
    ----------
    targets : (n,) classes, or (n, k) target probabilities.
    """
    basis = singular_basis(features)
    unit = np.sqrt(features.shape[1])  # rows of about length one, whatever the number of features
    # along what no row varies, new weights would stay as they were drawn
    vary = basis.spectrum > 1e-10 * basis.spectrum.max(initial=0.0)
    basis = replace(basis, coordinates=basis.coordinates[:, vary], vectors=basis.vectors[vary])
    coordinates, soft = basis.coordinates / unit, one_hot(targets, classes)
    for decay in strengths:
        inward, inward_bias, outward, outward_bias = _trained(coordinates, soft, decay, options)
        first = basis.unfold(inward / unit, inward_bias)
        yield Perceptron(first.weight, first.bias, outward, outward_bias)


def _trained(coordinates: FloatArray, soft: FloatArray, decay: float, options: Options) -> list[FloatArray]:
    """Return weight and bias of either layer, for coordinates (n, r) and targets (n, k)."""
    import torch
    from torch.nn import functional

    draw = torch.Generator().manual_seed(0)
    x, y = (torch.from_numpy(np.asarray(part, np.float32)) for part in (coordinates, soft))
    n, width, k = len(x), x.shape[1], y.shape[1]

    def layer(rows: int, columns: int) -> torch.nn.Parameter:
        bound = 1 / max(columns, 1) ** 0.5
        return torch.nn.Parameter((2 * torch.rand(rows, columns, generator=draw) - 1) * bound)

    bias = [torch.nn.Parameter(torch.zeros(size)) for size in (options.hidden, k)]
    layers = [layer(options.hidden, width), bias[0], layer(k, options.hidden), bias[1]]
    optimizer = torch.optim.AdamW(layers, lr=options.learning_rate, weight_decay=decay)
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * (1 - step / options.steps)
        some = torch.randperm(n, generator=draw)[:BATCH] if n > BATCH else slice(None)
        hidden = functional.relu(x[some] @ layers[0].T + layers[1])
        kept = torch.rand(hidden.shape, generator=draw) >= options.dropout
        logits = (hidden * kept / (1 - options.dropout)) @ layers[2].T + layers[3]
        optimizer.zero_grad()
        functional.cross_entropy(logits, y[some]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return [part.detach().numpy().astype(np.float64) for part in layers]
