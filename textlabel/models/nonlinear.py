"""Heads on cached features that are not linear: numpy only.

A classifier holds their numbers as they are (`textlabel.models.classifier.Frozen`): no stage trains them
further, so none may follow. What a linear head makes cheap goes without them: the heads of the folds that are
kept beside it, and twins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textlabel.trust.calibration import softmax
from textlabel.types import FloatArray

#: rows whose neighbors are looked for at a time, so that memory stays small
CHUNK = 1024
#: of probability, which each class has from the start: who has no neighbor of a class knows that little
FLOOR = 1e-3
#: probability of a class that no source class becomes
LEAST_MAPPED = 1e-12


@dataclass(frozen=True)
class Perceptron:
    """One hidden layer: ``relu(features @ inward.T + inward_bias) @ outward.T + outward_bias``.

    Parameters
    ----------
    inward, inward_bias : (h, d) and (h,).
    outward, outward_bias : (k, h) and (k,).
    """

    inward: FloatArray
    inward_bias: FloatArray
    outward: FloatArray
    outward_bias: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        """How many features it reads, and how many outputs it gives."""
        return self.inward.shape[1], len(self.outward)

    def __call__(self, features: FloatArray) -> FloatArray:
        """Return outputs (n, k) for features (n, d)."""
        hidden = np.maximum(np.asarray(features, np.float64) @ self.inward.T + self.inward_bias, 0)
        return hidden @ self.outward.T + self.outward_bias


@dataclass(frozen=True)
class Neighbors:
    """Shares of classes among the nearest rows by cosine, each counted ``exp(cosine / temperature)``.

    Parameters
    ----------
    rows : (n, d) features of the labeled rows, less ``center``, of length one.
    targets : (n, k) what each row says of the classes.
    center : (d,) mean of the features of these rows.
    settings : (2,) how many neighbors, and the temperature.
    """

    rows: FloatArray
    targets: FloatArray
    center: FloatArray
    settings: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        """How many features it reads, and how many outputs it gives."""
        return self.rows.shape[1], self.targets.shape[1]

    def __call__(self, features: FloatArray) -> FloatArray:
        """Return logarithms of probabilities (n, k) for features (n, d)."""
        count = round(float(self.settings[0]))
        parts = []
        for start in range(0, len(features), CHUNK):
            cosines = unit_rows(features[start : start + CHUNK], self.center) @ self.rows.T.astype(np.float64)
            parts.append(shares(cosines, self.targets, [count], float(self.settings[1]))[0])
        return np.concatenate(parts) if parts else np.zeros((0, self.shape[1]))


@dataclass(frozen=True)
class Mapped:
    """A linear head of other classes, and what these are among the classes that are wanted.

    ``log(softmax(features @ weight.T + bias) @ given)``, which is not linear in the features.

    Parameters
    ----------
    weight, bias : (z, d) and (z,) of the source classes.
    given : (z, k) probabilities of the classes for each source class (`textlabel.trust.label_map`).
    """

    weight: FloatArray
    bias: FloatArray
    given: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        """How many features it reads, and how many outputs it gives."""
        return self.weight.shape[1], self.given.shape[1]

    def __call__(self, features: FloatArray) -> FloatArray:
        """Return logarithms of probabilities (n, k) for features (n, d)."""
        source = softmax(np.asarray(features, np.float64) @ self.weight.T + self.bias)
        found: FloatArray = np.log(np.maximum(source @ self.given, LEAST_MAPPED))
        return found


Nonlinear = Perceptron | Neighbors | Mapped
#: what a saved head may be
KINDS: dict[str, type[Perceptron] | type[Neighbors] | type[Mapped]] = {
    "mlp": Perceptron,
    "knn": Neighbors,
    "label_map": Mapped,
}


def unit_rows(features: FloatArray, center: FloatArray) -> FloatArray:
    """Return features (n, d) less ``center`` (d,), of length one; zero where nothing is left."""
    apart = np.asarray(features, np.float64) - center
    found: FloatArray = apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-12)
    return found


def shares(
    cosines: FloatArray, targets: FloatArray, counts: list[int], temperature: float
) -> list[FloatArray]:
    """Return logarithms of probabilities (n, k), one a number of neighbors.

    Parameters
    ----------
    cosines : (n, m) to the labeled rows; -inf: that row is none of its neighbors.
    targets : (m, k) of the labeled rows.

    Examples
    --------
    >>> [found] = shares(np.array([[1.0, 0.0, -1.0]]), np.eye(2)[[0, 1, 1]], [2], 1e9)
    >>> np.exp(found).round(2).tolist()
    [[0.5, 0.5]]
    """
    most = min(max(counts), cosines.shape[1])
    near = np.argpartition(-cosines, most - 1, axis=1)[:, :most]
    found = np.take_along_axis(cosines, near, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    near, found = np.take_along_axis(near, order, axis=1), np.take_along_axis(found, order, axis=1)
    # without any neighbor all weights are 0, and all classes are alike
    nearest = np.where(np.isfinite(found[:, :1]), found[:, :1], 0.0)
    weight = np.exp((found - nearest) / temperature)
    won = np.cumsum(weight[:, :, None] * targets[near], axis=1)
    total = np.cumsum(weight, axis=1)[:, :, None]
    k = targets.shape[1]
    at = [min(count, most) - 1 for count in counts]
    return [np.log((won[:, i] + FLOOR) / (total[:, i] + FLOOR * k)) for i in at]
