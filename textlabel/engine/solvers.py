"""Objectives that solve a linear head directly: which they are, what they take, how strengths are scaled."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from types import ModuleType

import numpy as np

from textlabel import registry
from textlabel.models.heads import Linear
from textlabel.models.nonlinear import Nonlinear
from textlabel.recipe import Plugin, Stage
from textlabel.trust.calibration import softmax
from textlabel.trust.metrics import nll
from textlabel.types import FloatArray, IntArray

#: ridge strengths tried, in nats per squared standardized weight, for `REFERENCE_ROWS` rows
STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0)
REFERENCE_ROWS = 100

#: what an objective with a direct solver returns
Head = Linear | Nonlinear


def solver(stage: Stage) -> tuple[ModuleType, Plugin] | None:
    """Return the objective module that solves this stage's head directly, or None: train by gradient."""
    if stage.tune.name != "head" or len(stage.objective) != 1:
        return None
    module = registry.load("objective", stage.objective[0].name)
    return (module, stage.objective[0]) if hasattr(module, "fit_linear") else None


def per_row(module: ModuleType, strengths: Sequence[float], rows: int) -> list[float]:
    """Return strengths for so many rows: a penalty stands beside a mean; others stay as they are."""
    return [l2 * REFERENCE_ROWS / rows if getattr(module, "PENALTY", True) else l2 for l2 in strengths]


def takes_mixing(module: ModuleType) -> bool:
    """Return whether a solver knows how classes that belong together share weights."""
    return "mixing" in signature(module.fit_linear).parameters


def takes_row_weights(module: ModuleType) -> bool:
    """Return whether a solver can count rows as more than one, or less."""
    return "row_weights" in signature(module.fit_linear).parameters


def mixing_argument(mixing: FloatArray | None) -> dict[str, FloatArray]:
    """Return what a solver that knows of structure is told beside the rows."""
    return {} if mixing is None else {"mixing": mixing}


def risk(outputs: FloatArray, targets: IntArray | FloatArray, row_weights: FloatArray | None = None) -> float:
    """Return the mean negative log-likelihood (nats) of classes, (n,) or (n, k), or squared error of scores.

    ``row_weights`` (n,) weigh the mean over rows of one class; None: all rows count alike.

    Examples
    --------
    >>> round(risk(np.zeros((3, 2)), np.array([0, 1, 1])), 4), risk(np.ones((2, 1)), np.array([1.0, 3.0]))
    (0.6931, 2.0)
    """
    if targets.ndim == 2:
        return float(np.mean(np.logaddexp(0, outputs) - targets * outputs))
    if targets.dtype.kind == "f":
        return float(np.mean((outputs[:, 0] - targets) ** 2))
    if row_weights is not None:
        p = softmax(outputs)[np.arange(len(targets)), targets]
        return float(np.average(-np.log(np.maximum(p, 1e-12)), weights=row_weights))
    return nll(targets, softmax(outputs))
