"""Objective ``prototype``: a text is of the class whose mean is nearest, in closed form (tune ``head`` only).

Logits are ``-|z - c|^2 / tau`` of features z and class means c (Snell et al. 2017, arXiv 1703.05175). But for
a part that all classes share these are linear in z: ``2 c / tau`` and ``-|c|^2 / tau``, one matrix and one
bias, as any head. The strength of the penalty, which cross-validation chooses, is tau in units of the mean
squared distance of rows from the mean of their class: it decides how sure the head is, never which class is
likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textlabel.models.heads import Linear, one_hot, one_thread
from textlabel.types import FloatArray, IntArray

NAME = "prototype"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"head"})
#: the strength is a temperature, whatever the number of rows
PENALTY = False


@dataclass(frozen=True)
class Options:
    """Prototypes have no options."""


@one_thread
def fit_linear(
    features: FloatArray,
    targets: IntArray | FloatArray,
    classes: int,
    strengths: Sequence[float],
    options: Options,
) -> list[Linear]:
    """Return heads of the class means, one a temperature.

    Parameters
    ----------
    targets : (n,) classes, or (n, k) target probabilities: a row then counts a part in several classes.
    """
    soft = one_hot(targets, classes)
    x = np.asarray(features, dtype=np.float64)
    counts = np.maximum(soft.sum(axis=0), 1e-12)
    means = soft.T @ x / counts[:, None]
    within = float((x**2).sum() - counts @ (means**2).sum(axis=1)) / len(x)
    # rows that are all alike have no scatter: then any unit does
    unit = within if within > 1e-12 * float((x**2).mean()) else 1.0
    center = means.mean(axis=0)
    weight, bias = 2 * (means - center), -(means**2).sum(axis=1)
    return [Linear(weight / (l2 * unit), (bias - bias.mean()) / (l2 * unit)) for l2 in strengths]
