"""Objective ``lda``: Gaussian classes with one shrunk covariance, in closed form (tune ``head`` only).

The covariance within classes S (d, d) of few rows is singular, so it is drawn towards a sphere:
``(1 - s) S + s tr(S) / d I``. With ``l2 = s / (1 - s)`` that is ``S + l2 tr(S) / d I`` but for a factor, so
the strength of the penalty, which cross-validation chooses, says how far. The log-posteriors of such classes
are linear in the features: one matrix and one bias, as any head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textlabel.errors import RecipeError
from textlabel.models.heads import Linear, one_hot, one_thread, singular_basis
from textlabel.types import FloatArray, IntArray

NAME = "lda"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"head"})
#: with fewer rows than features the log-posteriors are a hundred times too large: folds tell how much
TEMPERED = True


@dataclass(frozen=True)
class Options:
    """What is known of the classes before.

    Parameters
    ----------
    priors : "empirical" (a class is as frequent as in the labeled rows) or "balanced" (all are equally so).
    """

    priors: str = "empirical"

    def __post_init__(self) -> None:
        if self.priors not in ("empirical", "balanced"):
            raise RecipeError(f"priors = {self.priors!r}; expected 'empirical' or 'balanced'")


@one_thread
def fit_linear(
    features: FloatArray,
    targets: IntArray | FloatArray,
    classes: int,
    strengths: Sequence[float],
    options: Options,
) -> list[Linear]:
    """Return heads whose outputs are log-posteriors but for a constant, one a strength of shrinkage.

    Parameters
    ----------
    targets : (n,) classes, or (n, k) target probabilities: a row then counts a part in several classes.
    """
    soft = one_hot(targets, classes)
    counts = np.maximum(soft.sum(axis=0), 1e-12)
    share = counts / counts.sum()
    prior = np.log(share) if options.priors == "empirical" else np.zeros(classes)
    basis = singular_basis(features, standardize=False)
    means = soft.T @ basis.coordinates / counts[:, None]
    # the covariance within classes is that of all rows, diagonal in this basis, less that of the means
    total = float(basis.spectrum.sum())
    within = total - float(share @ (means**2).sum(axis=1))
    # rows of a class that are all alike tell nothing of it: then it is that of all rows
    known = within > 1e-10 * total
    sphere = max(within if known else total, 1e-30) / features.shape[1]
    heads = []
    for l2 in strengths:
        scaled = means / (basis.spectrum + l2 * sphere)
        # Woodbury: the means times the inverse, by a (k, k) system
        weight = np.linalg.solve(np.eye(classes) - known * (scaled @ means.T) * share, scaled) * (1 + l2)
        bias = prior - (weight * means).sum(axis=1) / 2
        heads.append(basis.unfold(weight - weight.mean(axis=0), bias - bias.mean()))
    return heads
